"""One asset event per merged target."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_elt_provider._compat import Asset, AssetAlias, BaseOperator, Context, alias_is_registered
from airflow_elt_provider.operators._rendered import is_template

if TYPE_CHECKING:
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.engine.merge import SyncResult


def asset_uri(destination_conn_id: str, target: TableRef) -> str:
    """Return the URI of a target as an asset: ``elt://<destination_conn_id>/<target>``, percent-encoded."""
    return f"elt://{quote(destination_conn_id)}/{quote(str(target))}"


def alias(destination_conn_id: str | None) -> AssetAlias:
    """Return the alias under which targets appear whose names are known only at run time."""
    return AssetAlias(f"elt://{quote(destination_conn_id or '')}")


def declare(operator: BaseOperator, destination_conn_id: str, target_table: Any) -> None:
    """Add the target to the operator's outlets: itself where its name is known, else the alias."""
    from airflow_elt_provider.core.table_ref import TableRef

    if target_table is None or is_template(target_table):
        operator.outlets.append(alias(destination_conn_id))
    else:
        operator.outlets.append(Asset(asset_uri(destination_conn_id, TableRef.of(target_table))))


def announce(
    context: Context, operator: BaseOperator, destination_conn_id: str, target: TableRef, result: SyncResult
) -> None:
    """Give the target's event its counts. There is one event per successful run, also when nothing changed."""
    asset, ours = Asset(asset_uri(destination_conn_id, target)), alias(destination_conn_id)
    extra = {
        "rows": result.extracted,
        "inserted": result.inserted,
        "updated": result.updated,
        "deleted": result.deleted,
        "load_id": result.load_id,
        "schema_hash": _schema_hash(result),
    }
    events: Any = context["outlet_events"]
    for outlet in operator.outlets or ():
        if isinstance(outlet, Asset) and outlet.uri == asset.uri:
            events[outlet].extra.update(extra)
        elif isinstance(outlet, AssetAlias) and outlet.name == ours.name and alias_is_registered(outlet):
            events[outlet].add(asset, extra=extra)


def _schema_hash(result: SyncResult) -> str:
    """Return what changes when the load's columns, types or key do; "" where the manifest was not read."""
    if result.manifest is None:
        return ""
    text = json.dumps(result.manifest.schema.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
