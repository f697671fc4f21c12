"""Catalogues of the configuration API: the schemas that a source has, and how a connection syncs each stream."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte.streams import (
    paths,
    stream,
    stream_name,
    sync_mode,
    two_modes,
    uses_cursor,
    uses_key,
)
from airflow_elt_provider.remotes.config_as_code.model import split
from airflow_elt_provider.remotes.flow import JsonObject


def streams_of(catalog: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the selected streams of a connection's catalogue are synced, by name."""
    found: dict[str, Any] = {}
    for name, item in _by_name(catalog).items():
        config = item.get("config") or {}
        if config.get("selected") is False:
            continue
        chosen = config.get("selectedFields") if config.get("fieldSelectionEnabled") else None
        mode = sync_mode(config["syncMode"], config["destinationSyncMode"])
        fields = [one["fieldPath"] for one in chosen or ()]
        found[name] = stream(mode, config.get("cursorField"), config.get("primaryKey"), fields)
    return dict(sorted(found.items()))


def laid_over(
    wanted: Mapping[str, Any], discovered: Mapping[str, Any], present: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """Return a connection's catalogue: the schemas as the source has them, synced as is wanted.

    What nobody asks about, such as aliases or hashed fields, stays as the connection has it.

    :param wanted: see :func:`streams_of`; what is not in it is not synced.
    :param discovered: the source's catalogue.
    :param present: the connection's own; of its schemas nothing is taken over.
    :raises ConfigurationError: where a stream or a field is wanted that the source does not have.
    """
    known, kept = _by_name(discovered), _by_name(present)
    _refuse_impossible(wanted, known)
    return {
        "streams": [
            {"stream": known[name]["stream"], "config": _config(one, known[name], kept.get(name) or {})}
            for name, one in sorted(wanted.items())
        ]
    }


def missing_streams(wanted: Mapping[str, Any], discovered: Mapping[str, Any]) -> set[str]:
    """Return the names of streams that are wanted and not in a source's catalogue."""
    return wanted.keys() - _by_name(discovered).keys()


def _refuse_impossible(wanted: Mapping[str, Any], known: Mapping[str, JsonObject]) -> None:
    """Refuse what the source does not have, all of it in one message.

    :param known: items of its catalogue, by name.
    """
    problems, nearest = [], set[str]()
    for name, one in sorted(wanted.items()):
        if name not in known:
            problems.append(f"the source has no stream {name!r}")
            nearest |= _nearest(name, known)
            continue
        fields = ((known[name]["stream"].get("jsonSchema") or {}).get("properties") or {}).keys()
        for path in _paths(one):
            if path and fields and path[0] not in fields:
                problems.append(f"stream {name!r} of the source has no field {path[0]!r}")
                nearest |= _nearest(path[0], fields)
        problems += _without_what_it_needs(name, one, known[name]["stream"])
    if problems:
        names = ", ".join(sorted(nearest))
        raise ConfigurationError(
            f"The connection cannot be synced so: {'; '.join(problems)}.",
            hint=f"the nearest names: {names}" if names else "correct its file, or let the source be discovered anew",
        )


def _without_what_it_needs(name: str, one: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[str]:
    mode = str(one.get("sync_mode"))
    read, _ = two_modes(mode)
    if read not in (source.get("supportedSyncModes") or [read]):
        yield f"stream {name!r} of the source knows only {', '.join(source['supportedSyncModes'])}"
    cursor = split(one["cursor"]) if one.get("cursor") else source.get("defaultCursorField")
    key = paths(one.get("primary_key") or ()) or source.get("sourceDefinedPrimaryKey") or []
    if uses_cursor(mode) and not (cursor or source.get("sourceDefinedCursor")):
        yield f"stream {name!r} is {mode} and has no cursor"
    if uses_key(mode) and not key:
        yield f"stream {name!r} is {mode} and has no primary_key"
    selected = {path[0] for path in paths(one.get("fields") or ())}
    needed = [*([cursor] if cursor and uses_cursor(mode) else []), *(key if uses_key(mode) else [])]
    for missing in sorted({path[0] for path in needed} - selected if selected else ()):
        yield f"stream {name!r} does not select {missing!r}, its cursor or part of its key"


def _config(one: Mapping[str, Any], item: JsonObject, kept: JsonObject) -> JsonObject:
    """Return the configuration of a stream, on top of what the connection has, or of what the source proposes."""
    source = item["stream"]
    config: JsonObject = dict(kept.get("config") or item.get("config") or {})
    mode = str(one["sync_mode"])
    read, written = two_modes(mode)
    config = {"cursorField": [], "primaryKey": [], "aliasName": source["name"], **config}
    config |= {"syncMode": read, "destinationSyncMode": written, "selected": True}
    if uses_cursor(mode):
        config["cursorField"] = split(one["cursor"]) if one.get("cursor") else []
    if uses_key(mode):
        # The server does not take a source's own key for granted: without it nothing would be deduplicated.
        config["primaryKey"] = paths(one.get("primary_key") or ()) or source.get("sourceDefinedPrimaryKey") or []
    if one.get("fields"):
        chosen = [{"fieldPath": path} for path in paths(one["fields"])]
        config |= {"fieldSelectionEnabled": True, "selectedFields": chosen}
    elif config.get("fieldSelectionEnabled"):
        config |= {"fieldSelectionEnabled": False, "selectedFields": []}
    return config


def _by_name(catalog: Mapping[str, Any]) -> dict[str, JsonObject]:
    items = catalog.get("streams") or ()
    return {stream_name(item["stream"].get("namespace"), item["stream"]["name"]): item for item in items}


def _paths(one: Mapping[str, Any]) -> list[list[str]]:
    cursor = [one["cursor"]] if one.get("cursor") else []
    return paths([*cursor, *(one.get("primary_key") or ()), *(one.get("fields") or ())])


def _nearest(name: str, known: Collection[str]) -> set[str]:
    return set(get_close_matches(name, known, n=3, cutoff=0.5))
