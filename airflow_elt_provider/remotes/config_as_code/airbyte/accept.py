"""What becomes of a connection's selection when changes of its source are taken over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_elt_provider.remotes.config_as_code.airbyte.api import Found, SourceStreams
from airflow_elt_provider.remotes.config_as_code.airbyte.streams import FULL, paths, stream, uses_cursor, uses_key
from airflow_elt_provider.remotes.config_as_code.model import split
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, LockedStream, SchemaLock

_KEY_PARTS = ", "


def accepted(streams: Mapping[str, Any], has: SourceStreams, drifts: Sequence[Drift]) -> dict[str, Any]:
    """Return the selection that follows these changes.

    A field is added to, or taken from, a stream of which only some are selected; of the others the server takes all by
    itself. A new stream is synced as most others are, where it can be, else it is read whole and overwritten.

    :param streams: the selection as it is.
    :param has: what the source has now.
    """
    wanted = {name: dict(one) for name, one in streams.items()}
    for one in drifts:
        if one.kind == "stream_removed":
            wanted.pop(one.stream, None)
        elif one.kind == "stream_added" and one.stream in has.locked and one.stream not in wanted:
            wanted[one.stream] = _new(has.locked[one.stream], has.modes.get(one.stream, ()), streams)
        elif one.stream in wanted:
            _change(wanted[one.stream], one)
    return wanted


def _new(one: LockedStream, possible: Sequence[str], others: Mapping[str, Any]) -> dict[str, Any]:
    modes = Counter(str(other.get("sync_mode")) for other in others.values())
    fitting = [
        mode for mode, _ in modes.most_common()
        if (not possible or mode in possible)
        and (one.cursor or not uses_cursor(mode))
        and (one.primary_key or not uses_key(mode))
    ]  # fmt: skip
    mode = fitting[0] if fitting else FULL
    return stream(mode, split(one.cursor) if one.cursor else (), paths(one.primary_key))


def _change(one: dict[str, Any], change: Drift) -> None:
    if change.kind == "field_added" and "fields" in one:
        one["fields"] = sorted({*one["fields"], change.field})
    elif change.kind == "field_removed" and "fields" in one:
        one["fields"] = [name for name in one["fields"] if split(name)[0] != change.field]
    elif change.kind == "key_changed":
        _change_key(one, change)
    for name in [name for name, value in one.items() if not value]:
        del one[name]


def _change_key(one: dict[str, Any], change: Drift) -> None:
    """Follow the source, unless the user has chosen something else."""
    if change.field == "cursor" and one.get("cursor", "") == change.old:
        one["cursor"] = change.new if uses_cursor(one["sync_mode"]) else ""
    elif change.field == "primary key" and _KEY_PARTS.join(one.get("primary_key", ())) == change.old:
        one["primary_key"] = change.new.split(_KEY_PARTS) if change.new and uses_key(one["sync_mode"]) else []


def behind(connection: Found, source: SchemaLock) -> dict[str, tuple[str, ...]]:
    """Return the fields that a connection does not sync, because its copy of the schema is older than the source.

    Of a stream of which only some fields are selected the copy may hold these alone: it tells nothing.
    """
    selected, found = connection.values["streams"], dict[str, tuple[str, ...]]()
    for name in connection.copied.keys() & source.streams.keys() & selected.keys():
        missing = source.streams[name].fields.keys() - connection.copied[name].fields.keys()
        if missing and "fields" not in selected[name]:
            found[name] = tuple(sorted(missing))
    return found
