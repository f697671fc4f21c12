"""What Airflow's metrics hear of each load: rows, bytes, seconds and lag.

Each metric is sent twice, as Airflow's own are: ``elt.rows_inserted`` with tags, for those that know tags, and
``elt.stream.<stream>.rows_inserted`` for plain StatsD.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.core.receipt import ROW_COUNTS

if TYPE_CHECKING:
    from airflow_elt_provider.core.manifest import Manifest
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.engine.merge import SyncResult

log = logging.getLogger(__name__)

_LONGEST: Final = 120


def report(destination_conn_id: str, target: TableRef, result: SyncResult) -> None:
    """Send the metrics of a load. What goes wrong is said in the log: it is not the load's fault.

    A load that a former attempt of the task has merged is not counted again.
    """
    if result.manifest is None:
        return
    tags = {
        "stream": tag(result.stream), "destination": tag(destination_conn_id), "target": tag(str(target)),
        "capture": tag(result.manifest.next_position.capture),
    }  # fmt: skip
    try:
        _send(_measures(result, result.manifest, datetime.now(UTC)), f"elt.stream.{part(result.stream)}", tags)
    except Exception as error:  # noqa: BLE001 - of whatever client and server there is
        log.warning("%s: metrics were not sent: %s: %s", result.stream, type(error).__name__, error)


def _send(measures: Iterator[tuple[str, str, float]], prefix: str, tags: dict[str, str]) -> None:
    from airflow.providers.common.compat.sdk import Stats

    stats: Any = Stats
    for kind, name, value in measures:
        for full, given in ((f"elt.{name}", {"tags": tags}), (f"{prefix}.{name}", {})):
            if kind == "count":
                stats.incr(full, int(value), **given)
            elif kind == "time":
                stats.timing(full, timedelta(seconds=value), **given)
            else:
                stats.gauge(full, value, **given)


def _measures(result: SyncResult, manifest: Manifest, now: datetime) -> Iterator[tuple[str, str, float]]:
    """Give kind, name and value of each metric."""
    yield "count", "loads", 1
    for name in ROW_COUNTS:
        yield "count", f"rows_{name}", getattr(result, name)
    yield "count", "bytes_staged", result.bytes_staged
    for step, seconds in result.seconds.items():
        yield "time", f"duration_{part(step)}", seconds
    behind = lag_bytes(manifest)
    if behind is not None:
        yield "gauge", "lag_bytes", behind
    age = lag_seconds(manifest, now)
    if age is not None:
        yield "gauge", "lag_seconds", round(age, 3)


def lag_bytes(manifest: Manifest) -> int | None:
    """Return how far the source's log was ahead of what was read; None where there is no log."""
    told = manifest.source_facts.get("lag_bytes")
    return int(told) if told else None


def lag_seconds(manifest: Manifest, now: datetime) -> float | None:
    """Return how old the newest thing is that is merged; None where nothing says.

    With a log: how old what was read last was then, and what has gone by since. With a cursor that is a time: the age
    of its largest value, by the clocks of worker and source. Else the age of the snapshot. A source where nothing
    happens grows old by its cursor.
    """
    taken = _moment(manifest.as_of or manifest.created_at)
    told = manifest.source_facts.get("lag_seconds")
    if told and taken:
        return float(told) + _between(taken, now)
    cursor = manifest.next_position.cursor
    newest = _moment(cursor.value or "") if cursor and re.match("time|date", cursor.type, re.IGNORECASE) else None
    newest = newest or taken
    return None if newest is None else _between(newest, now)


def _between(then: datetime, now: datetime) -> float:
    return max(0.0, (now - then).total_seconds())


def _moment(text: str) -> datetime | None:
    """Read a time; UTC where it has no offset."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def tag(text: str) -> str:
    """Return a text without what ends a tag in StatsD, InfluxDB or Datadog."""
    return _safe(text, r"[^A-Za-z0-9_.-]+")


def part(text: str) -> str:
    """Return a text as one part of a metric's name: the dots in a table's name split nothing."""
    return _safe(text, r"[^A-Za-z0-9_-]+")


def _safe(text: str, unsafe: str) -> str:
    found = re.sub(unsafe, "_", text.replace("->", "__"))
    if text.isascii() and len(found) <= _LONGEST:
        return found
    # What was lost told names apart.
    told = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{found[:_LONGEST]}_{told}"
