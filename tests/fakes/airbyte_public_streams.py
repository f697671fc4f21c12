"""How the public API reads and shows which streams a connection syncs: it has one word for both sync modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.airbyte_catalog import configuration, supported_modes
from tests.fakes.airbyte_objects import FULL_REFRESH, Connection, Stream
from tests.fakes.airbyte_public_reading import bad_request
from tests.fakes.airbyte_words import KEYED, SYNC_MODES, SYNC_WORDS

Key = tuple[str | None, str]


def shown_streams(connection: Connection) -> list[dict[str, Any]]:
    """Return the StreamConfigurations of a connection: without schemas."""
    return [
        _shown(stream, {**configuration(stream), **connection.selections.get(stream.key, {})})
        for stream in connection.streams
    ]


def select(connection: Connection, known: Sequence[Stream], chosen: Sequence[Mapping[str, Any]]) -> None:
    """Let a connection sync these streams of a source, as they are there now; raises what the API answers."""
    streams = [_found(asked, known) for asked in chosen]
    if len({stream.key for stream in streams}) < len(streams):
        raise bad_request("Duplicate stream found in configuration")
    selections = {stream.key: _configured(stream, asked) for stream, asked in zip(streams, chosen, strict=True)}
    connection.streams, connection.selections = streams, selections


def select_all(connection: Connection, known: Sequence[Stream]) -> None:
    """Let a connection sync everything, each stream read in full and overwritten."""
    select(connection, known, [{"name": stream.name, "namespace": stream.namespace} for stream in known])


def _shown(stream: Stream, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": stream.name,
        "namespace": stream.namespace,
        "syncMode": SYNC_WORDS.get((config["syncMode"], config["destinationSyncMode"])),
        "cursorField": config["cursorField"],
        "primaryKey": config["primaryKey"],
        "selectedFields": config.get("selectedFields") or [],
        "mappers": config.get("mappers") or [],
    }


def _found(asked: Mapping[str, Any], known: Sequence[Stream]) -> Stream:
    """Find a stream; the namespace counts only where several have that name."""
    name, namespace = asked.get("name"), asked.get("namespace")
    named = [stream for stream in known if stream.name == name]
    if len(named) > 1:
        named = [stream for stream in named if stream.namespace == namespace]
    if not named:
        raise bad_request(f"No streams found with name [{name}] and namespace [{namespace}].")
    return named[0]


def _configured(stream: Stream, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stream's configuration in the words of the configuration API."""
    word = asked.get("syncMode") or FULL_REFRESH
    if word not in SYNC_MODES or SYNC_MODES[word][0] not in supported_modes(stream):
        raise bad_request(f"Cannot set sync mode to {word} for stream {stream.name}.")
    mode, write = SYNC_MODES[word]
    own = configuration(stream)
    config = {"syncMode": mode, "destinationSyncMode": write, "mappers": list(asked.get("mappers") or ())}
    if mode == "incremental":
        config["cursorField"] = _cursor(stream, own["cursorField"], asked.get("cursorField"))
    if mode == "incremental" or write in KEYED:
        config["primaryKey"] = _key(stream, own["primaryKey"], asked.get("primaryKey"), needed=write in KEYED)
    return config | _fields(stream, {**own, **config}, asked.get("selectedFields"))


def _cursor(stream: Stream, own: list[str], asked: list[str] | None) -> list[str]:
    if own and asked and asked != own:
        raise bad_request(f"Cursor Field {asked} is already defined by source for stream: {stream.name}.")
    if asked and asked[0] not in stream.fields:
        raise bad_request(f"Invalid cursor field for stream: {stream.name}.")
    if not own and not asked:
        raise bad_request(f"No default cursor field for stream: {stream.name}.")
    return own or asked or []


def _key(stream: Stream, own: list[list[str]], asked: list[list[str]] | None, *, needed: bool) -> list[list[str]]:
    if needed and own and asked and asked != own:
        raise bad_request(f"Primary key for stream: {stream.name} is already pre-defined.")
    if needed and not own and not asked:
        raise bad_request(f"No default primary key for stream: {stream.name}.")
    if any(path[0] not in stream.fields for path in asked or ()):
        raise bad_request(f"Invalid primary key for stream: {stream.name}.")
    return own or asked or []


def _fields(stream: Stream, config: Mapping[str, Any], asked: list[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Return the selection of fields: an empty list is refused, None selects all."""
    if asked is None:
        return {"fieldSelectionEnabled": False}
    paths = [list(field.get("fieldPath") or ()) for field in asked]
    names = [path[0] for path in paths if len(path) == 1]
    if not names or len(names) < len(paths) or len(set(names)) < len(names) or not stream.fields.keys() >= set(names):
        raise bad_request(f"Invalid fields selected for stream {stream.name}: {paths}")
    if config["destinationSyncMode"] in KEYED and any(path[0] not in names for path in config["primaryKey"]):
        raise bad_request(f"Primary key fields are not selected properly for stream: {stream.name}.")
    if config["syncMode"] == "incremental" and config["cursorField"][0] not in names:
        raise bad_request(f"Cursor field is not selected properly for stream: {stream.name}.")
    return {"fieldSelectionEnabled": True, "selectedFields": [{"fieldPath": [name]} for name in names]}
