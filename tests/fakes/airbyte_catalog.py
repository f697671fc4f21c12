"""Streams as the configuration API shows them: catalogues with JSON schemas, and how two of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.airbyte_objects import Stream
from tests.fakes.airbyte_words import SYNC_MODES


def catalog(streams: Sequence[Stream], selections: Mapping[tuple[str | None, str], Any]) -> dict[str, Any]:
    """Return an AirbyteCatalog; a selection replaces parts of a stream's configuration."""
    return {
        "streams": [
            {"stream": definition(stream), "config": {**configuration(stream), **selections.get(stream.key, {})}}
            for stream in streams
        ]
    }


def definition(stream: Stream) -> dict[str, Any]:
    """Return an AirbyteStream."""
    fields = {name: dict(schema) for name, schema in stream.fields.items()}
    body = {
        "name": stream.name,
        "jsonSchema": {"type": "object", "properties": fields},
        "supportedSyncModes": supported_modes(stream),
        "sourceDefinedCursor": stream.cursor is not None,
        "defaultCursorField": [stream.cursor] if stream.cursor else [],
        "sourceDefinedPrimaryKey": [[column] for column in stream.primary_key],
    }
    return body if stream.namespace is None else {**body, "namespace": stream.namespace}


def supported_modes(stream: Stream) -> list[str]:
    """Return the source's sync modes."""
    return ["full_refresh", "incremental"] if stream.cursor or stream.incremental else ["full_refresh"]


def configuration(stream: Stream) -> dict[str, Any]:
    """Return an AirbyteStreamConfiguration; here the sync mode is in two words where the public API has one."""
    mode, write = SYNC_MODES[stream.sync_mode]
    return {
        "syncMode": mode,
        "destinationSyncMode": write,
        "cursorField": [stream.cursor] if stream.cursor else [],
        "primaryKey": [[column] for column in stream.primary_key],
        "aliasName": stream.name,
        "selected": True,
        "fieldSelectionEnabled": False,
    }


def difference(before: Sequence[Stream], after: Sequence[Stream]) -> tuple[list[dict[str, Any]], bool]:
    """Return the transforms from one catalogue to another, and whether they break the connection.

    Losing a stream's primary key or cursor breaks it; losing any other field, or a whole stream, does not.
    """
    old, new = {stream.key: stream for stream in before}, {stream.key: stream for stream in after}
    transforms = [_transform("remove_stream", old[key]) for key in old if key not in new]
    transforms += [_transform("add_stream", new[key]) for key in new if key not in old]
    breaking = False
    for key in old.keys() & new.keys():
        changes = _field_changes(old[key], new[key])
        if changes:
            transforms.append({**_transform("update_stream", new[key]), "updateStream": changes})
            breaking = breaking or any(change["breaking"] for change in changes)
    return transforms, breaking


def _transform(kind: str, stream: Stream) -> dict[str, Any]:
    descriptor = {"name": stream.name}
    if stream.namespace is not None:
        descriptor["namespace"] = stream.namespace
    return {"transformType": kind, "streamDescriptor": descriptor}


def _field_changes(old: Stream, new: Stream) -> list[dict[str, Any]]:
    needed = {*old.primary_key, old.cursor}
    changes = [
        _change("remove_field", name, name in needed, {"removeField": {"schema": dict(old.fields[name])}})
        for name in old.fields
        if name not in new.fields
    ]
    for name, schema in new.fields.items():
        if name not in old.fields:
            changes.append(_change("add_field", name, False, {"addField": {"schema": dict(schema)}}))
        elif dict(old.fields[name]) != dict(schema):
            update = {"oldSchema": dict(old.fields[name]), "newSchema": dict(schema)}
            changes.append(_change("update_field_schema", name, False, {"updateFieldSchema": update}))
    return changes


def _change(kind: str, name: str, breaking: bool, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"transformType": kind, "fieldName": [name], "breaking": breaking, **more}
