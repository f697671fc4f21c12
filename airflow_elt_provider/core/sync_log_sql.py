"""The sync log: the receipts, with names for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from airflow_elt_provider.core.dialect import Dialect


class _Logged(NamedTuple):
    """A column of the sync log.

    :param column: of the receipts, or "".
    :param told: the member of the receipt's JSON, and what ``kind`` of value it is: text, unless it says so.
    """

    column: str = ""
    told: str = ""
    kind: str = ""


_SYNC_LOG: Final[Mapping[str, _Logged]] = {
    "stream": _Logged("stream"), "load_id": _Logged("load_id"), "target": _Logged(told="target"),
    "capture": _Logged(told="capture"), "mode": _Logged(told="mode"),
    "started_at": _Logged(told="started_at", kind="moment"), "finished_at": _Logged("committed_at"),
    "rows_extracted": _Logged("extracted"), "rows_inserted": _Logged("inserted"), "rows_updated": _Logged("updated"),
    "rows_deleted": _Logged("deleted"), "rows_quarantined": _Logged(told="quarantined", kind="whole"),
    "bytes": _Logged(told="bytes", kind="whole"), "files": _Logged(told="files", kind="whole"),
    "schema_changes": _Logged(told="schema_changes"), "position": _Logged(told="reached"),
    "lag_bytes": _Logged(told="lag_bytes", kind="whole"), "lag_seconds": _Logged(told="lag_seconds", kind="double"),
}  # fmt: skip


def logged(dialect: Dialect, receipts: str) -> str:
    """Return the query that reads the sync log off the receipts."""
    items = [f"{each.column or _told(dialect, each.told, each.kind)} AS {name}" for name, each in _SYNC_LOG.items()]
    return f"SELECT {', '.join(items)} FROM {receipts}"


def _told(dialect: Dialect, name: str, kind: str) -> str:
    value = dialect.json_text("receipt", name)
    if kind == "moment":
        return dialect.iso_instant(value)
    types = {"whole": dialect.whole_type, "double": dialect.double_type}
    return dialect.cast(value, types[kind]) if kind else value
