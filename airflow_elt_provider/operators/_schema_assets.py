"""An asset event where the schema of a source has drifted from its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_elt_provider._compat import Asset, AssetAlias, BaseOperator, Context, alias_is_registered, event_extra
from airflow_elt_provider.operators._remote_assets import stream_uri

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.config_as_code.gate import Checked


def schema_alias(conn_id: str) -> AssetAlias:
    """Return the alias under which the schemas of a remote's sources appear."""
    return AssetAlias(f"elt://{quote(conn_id)}/schema")


def declare(operator: BaseOperator, conn_id: str) -> None:
    """Add the alias to the operator's outlets."""
    operator.outlets.append(schema_alias(conn_id))


def announce(context: Context, operator: BaseOperator, conn_id: str, connection_id: str, checked: Checked) -> None:
    """Send an event with the differences; none where there are none. In Airflow 2 they are a JSON text there."""
    if not checked.drifts:
        return
    ours, extra = schema_alias(conn_id), event_extra({"drift": checked.listed(), "proposed": checked.proposed})
    events: Any = context["outlet_events"]
    for outlet in operator.outlets or ():
        if isinstance(outlet, AssetAlias) and outlet.name == ours.name and alias_is_registered(outlet):
            events[outlet].add(Asset(stream_uri(conn_id, "schema", connection_id)), extra=extra)
