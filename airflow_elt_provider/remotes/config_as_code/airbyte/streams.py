"""Connections of Airbyte in plain values, built and read the same whichever of its APIs they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte.api import SourceStreams
from airflow_elt_provider.remotes.config_as_code.model import joined, split
from airflow_elt_provider.remotes.config_as_code.schema_lock import LockedStream, type_text

UTC: Final = "UTC"
UNITS: Final = ("minutes", "hours", "days", "weeks", "months")
SYNC_MODES: Final[Mapping[str, tuple[str, str]]] = {
    "full_refresh_overwrite": ("full_refresh", "overwrite"),
    "full_refresh_append": ("full_refresh", "append"),
    "full_refresh_overwrite_deduped": ("full_refresh", "overwrite_dedup"),
    "full_refresh_update": ("full_refresh", "update"),
    "full_refresh_soft_delete": ("full_refresh", "soft_delete"),
    "incremental_append": ("incremental", "append"),
    "incremental_deduped_history": ("incremental", "append_dedup"),
    "incremental_update": ("incremental", "update"),
    "incremental_soft_delete": ("incremental", "soft_delete"),
}
"""The public API's word, and the configuration API's two: how the source is read, how the destination is written."""
FULL: Final = "full_refresh_overwrite"
_KEYED: Final = frozenset({"append_dedup", "overwrite_dedup", "update", "soft_delete"})
NAMESPACES: Final = ("source", "destination", "custom_format")
CHANGES: Final = ("ignore", "disable_connection", "propagate_columns", "propagate_fully")
STATUSES: Final = ("active", "inactive")
_EVERY: Final = re.compile(r"(\d+) (\w+)")
_CRON_FIELD: Final = re.compile(r"[0-9*/,\-?]+")
_CRON_FIELDS: Final = 6


# --- streams ---


def stream(
    sync_mode: str,
    cursor: Sequence[str] | None = (),
    primary_key: Iterable[Sequence[str]] | None = (),
    fields: Iterable[Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return how a stream is synced; what is empty is left out, and what is of no use in its mode.

    The servers answer a cursor and a key for every stream whose source defines them, synced by them or not.

    :param sync_mode: the public API's word.
    :param cursor: path of a field.
    :param primary_key: paths, in order.
    :param fields: paths of the selected ones; None: all of them.
    """
    value: dict[str, Any] = {
        "sync_mode": sync_mode,
        "cursor": joined(*(cursor or ())) if uses_cursor(sync_mode) else "",
        "primary_key": [joined(*path) for path in primary_key or ()] if uses_key(sync_mode) else [],
        "fields": sorted(joined(*path) for path in fields or ()),
    }
    return {name: one for name, one in value.items() if one}


def uses_cursor(mode: str) -> bool:
    """Whether a stream of this mode is read by a cursor."""
    return SYNC_MODES.get(mode, ("incremental", ""))[0] == "incremental"


def uses_key(mode: str) -> bool:
    """Whether a stream of this mode is written by a primary key."""
    return mode not in SYNC_MODES or SYNC_MODES[mode][1] in _KEYED


def stream_name(namespace: str | None, name: str) -> str:
    """Return the key under which a stream stands.

    >>> stream_name("public", "orders")
    'public.orders'
    """
    return joined(namespace, name)


def paths(dotted: Iterable[str]) -> list[list[str]]:
    """Return paths as the APIs have them."""
    return [split(text) for text in dotted]


def sync_mode(source_mode: str, destination_mode: str) -> str:
    """Return the public API's word for the two of the configuration API."""
    pair = (source_mode, destination_mode)
    return next((word for word, two in SYNC_MODES.items() if two == pair), f"{source_mode}_{destination_mode}")


def two_modes(word: str) -> tuple[str, str]:
    """Return the configuration API's two words.

    :raises ConfigurationError: for a word that there is not.
    """
    if word not in SYNC_MODES:
        raise ConfigurationError(f"sync_mode is {word!r}.", hint=f"one of {', '.join(SYNC_MODES)}")
    return SYNC_MODES[word]


# --- what a source has ---


def source_streams(catalog: Mapping[str, Any]) -> SourceStreams:
    """Return the streams of an ``AirbyteCatalog``, as the configuration API discovers it; of modes it tells a half."""
    locked: dict[str, LockedStream] = {}
    modes: dict[str, Sequence[str]] = {}
    for item in catalog["streams"]:
        one = item["stream"]
        name = stream_name(one.get("namespace"), one["name"])
        fields = (one.get("jsonSchema") or {}).get("properties") or {}
        types = {str(column): type_text(schema) for column, schema in fields.items()}
        locked[name] = locked_stream(types, one.get("sourceDefinedPrimaryKey"), one.get("defaultCursorField"))
        read = one.get("supportedSyncModes") or ["full_refresh"]
        modes[name] = [word for word, (source, _) in SYNC_MODES.items() if source in read]
    return SourceStreams(locked, modes)


def locked_stream(
    fields: Mapping[str, str], primary_key: Iterable[Sequence[str]] | None, cursor: Sequence[str] | None
) -> LockedStream:
    """Return a stream for a lock.

    :param primary_key: paths that the source defines.
    :param cursor: path that it defines or proposes.
    """
    return LockedStream(fields, tuple(joined(*path) for path in primary_key or ()), joined(*(cursor or ())))


# --- schedules ---


def manual() -> dict[str, Any]:
    """Return the schedule of what syncs when it is told to."""
    return {"type": "manual"}


def cron(expression: str, timezone: str | None = None) -> dict[str, Any]:
    """Return a schedule; the zone may be the expression's last word, as the public API writes it.

    >>> cron("0 0 2 * * ? UTC")
    {'type': 'cron', 'cron': '0 0 2 * * ?', 'timezone': 'UTC'}
    """
    words = expression.split()
    if len(words) > _CRON_FIELDS and not _CRON_FIELD.fullmatch(words[-1]):
        timezone, words = timezone or words[-1], words[:-1]
    return {"type": "cron", "cron": " ".join(words), "timezone": timezone or UTC}


def basic(units: int, unit: str) -> dict[str, Any]:
    """Return a schedule.

    >>> basic(24, "HOURS")
    {'type': 'basic', 'every': '24 hours'}
    """
    return {"type": "basic", "every": f"{units} {unit.lower()}"}


def every(text: str) -> tuple[int, str]:
    """Return number and unit of ``24 hours``.

    :raises ConfigurationError: for anything else.
    """
    found = _EVERY.fullmatch(text)
    if not found or found[2] not in UNITS:
        raise ConfigurationError(f"schedule.every is {text!r}.", hint=f"a number and one of {', '.join(UNITS)}")
    return int(found[1]), found[2]


# --- connections ---


def connection(
    ends: tuple[str, str],
    status: str,
    schedule: Mapping[str, Any],
    namespace: tuple[str | None, str | None],
    prefix: str | None,
    non_breaking_changes: str | None,
    streams: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the values of a connection as both APIs have them.

    :param ends: source and destination.
    :param namespace: the public API's word, and the format where that is ``custom_format``.
    :param non_breaking_changes: the public API's word; None: the server has no such thing.
    :param streams: the selected ones by :func:`stream_name`, see :func:`stream`.
    """
    definition, text = namespace
    kept = {"definition": definition or "destination"}
    if definition == "custom_format":
        kept["format"] = text or ""
    value = {
        "source": ends[0],
        "destination": ends[1],
        "status": status,
        "schedule": schedule,
        "namespace": kept,
        "prefix": prefix or "",
        "non_breaking_changes": non_breaking_changes,
        "streams": streams,
    }
    return {name: one for name, one in value.items() if one is not None}
