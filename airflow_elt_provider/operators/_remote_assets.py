"""One asset for each stream that a remote wrote, with its counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_elt_provider._compat import Asset, AssetAlias, BaseOperator, Context, alias_is_registered
from airflow_elt_provider.operators._assets import alias

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.model import Report


def stream_uri(conn_id: str, remote_id: str, stream: str = "") -> str:
    """Return the URI of a stream as an asset: ``elt://<conn_id>/<remote_id>[/<namespace>.<stream>]``, encoded."""
    parts = [quote(part.encode(errors="replace"), safe=".") for part in (remote_id, stream) if part]
    return "/".join([f"elt://{quote(conn_id)}", *parts])


def declare(operator: BaseOperator, conn_id: str) -> None:
    """Add the alias to the operator's outlets under which its streams appear: they are known when the run ends."""
    operator.outlets.append(alias(conn_id))


def announce(context: Context, operator: BaseOperator, conn_id: str, report: Report) -> None:
    """Send an event for each stream; for the whole where the remote names none."""
    ours, events = alias(conn_id), context["outlet_events"]
    for outlet in operator.outlets or ():
        if isinstance(outlet, AssetAlias) and outlet.name == ours.name and alias_is_registered(outlet):
            for uri, extra in _events(conn_id, report):
                events[outlet].add(Asset(uri), extra=extra)


def _events(conn_id: str, report: Report) -> list[tuple[str, dict[str, Any]]]:
    common = {"remote": report.remote, "remote_id": report.remote_id, "job_id": report.job_id}
    if not report.streams:
        return [(stream_uri(conn_id, report.remote_id), {**common, "rows": report.rows, "bytes": report.bytes})]
    return [
        (
            stream_uri(conn_id, report.remote_id, ".".join(part for part in (one.namespace, one.name) if part)),
            {**common, "rows": one.rows, "bytes": one.bytes},
        )
        for one in report.streams
    ]
