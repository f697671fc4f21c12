"""What a person wrote of a connection: put in the order in which servers are read, and checked before a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte import streams as plain
from airflow_elt_provider.remotes.config_as_code.model import Values, split

_STREAM: Final = ("sync_mode", "cursor", "primary_key", "fields")
_LISTS: Final = ("primary_key", "fields")
_CRON_FIELDS: Final = (6, 7)
_PARTS: Final = 2
_CUSTOM: Final = "custom_format"


# --- order ---


def tidied(values: Values) -> dict[str, Any]:
    """Return the values of a connection's file as a server that has them would be read; what is wrong stays as it is.

    Selected fields have no order of their own; what is empty is as good as absent; UTC goes without saying.
    """
    found = dict(values)
    if isinstance(schedule := found.get("schedule"), Mapping) and isinstance(schedule.get("cron"), str):
        given = plain.cron(schedule["cron"], schedule.get("timezone"))
        found["schedule"] = {**schedule, **given, "type": schedule.get("type")}
    if isinstance(streams := found.get("streams"), Mapping):
        found["streams"] = {name: _tidied_stream(one) for name, one in streams.items()}
    return found


def _tidied_stream(one: Any) -> Any:
    if not isinstance(one, Mapping):
        return one
    found = {name: [value] if name in _LISTS and isinstance(value, str) else value for name, value in one.items()}
    if isinstance(fields := found.get("fields"), list):
        found["fields"] = sorted(map(str, fields))
    return {name: value for name, value in found.items() if value not in ("", [], None)}


# --- checks ---


def wrong_words(values: Values) -> list[str]:
    """Return what no server takes of a connection's values, each with its remedy."""
    found = [*_wrong_texts(values)]
    for name, check in (("schedule", _wrong_schedule), ("namespace", _wrong_namespace), ("streams", _wrong_streams)):
        if isinstance(value := values.get(name, {}), Mapping):
            found += check(value) if name in values else ()
        else:
            found.append(f"{name} is {value!r}. Remedy: write a mapping, as an export does")
    return found


def wrong_actor(values: Values) -> list[str]:
    """Return what no server takes of the values of a source or destination, each with its remedy."""
    found = [
        f"{name} is {values[name]!r}. Remedy: write a text"
        for name in ("connector", "definition")
        if not isinstance(values.get(name, ""), str)
    ]
    if not isinstance(values.get("configuration", {}), Mapping):
        found.append(f"configuration is {values['configuration']!r}. Remedy: write a mapping, as an export does")
    return found


def _wrong_texts(values: Values) -> Iterator[str]:
    for name, words in (("status", plain.STATUSES), ("non_breaking_changes", plain.CHANGES)):
        if name in values:
            yield from _wrong(name, values[name], words)
    for name in ("source", "destination"):
        if not isinstance(values.get(name, ""), str):
            yield f"{name} is {values[name]!r}. Remedy: write its name"
    if not isinstance(values.get("prefix", ""), str):
        yield f"prefix is {values['prefix']!r}. Remedy: write a text, '' for none"


def _wrong_schedule(schedule: Mapping[str, Any]) -> Iterator[str]:
    kind = schedule.get("type")
    needed: dict[Any, Sequence[str]] = {"manual": (), "cron": ("cron",), "basic": ("every",)}
    if kind not in needed:
        yield from _wrong("schedule.type", kind, tuple(needed))
        return
    missing = [name for name in needed[kind] if not isinstance(schedule.get(name), str)]
    yield from (f"schedule.{name} is {schedule.get(name)!r}. Remedy: write a text" for name in missing)
    if kind == "cron" and not missing and len(schedule["cron"].split()) not in _CRON_FIELDS:
        yield (
            f"schedule.cron is {schedule['cron']!r}. Remedy: write six fields, seconds first and '?' for one of the "
            f"days, e.g. '0 30 4 * * ?' for half past four"
        )
    if kind == "basic" and not missing:
        try:
            plain.every(schedule["every"])
        except ConfigurationError as error:
            yield str(error)
    own = {"type", "timezone", *needed[kind]} if kind == "cron" else {"type", *needed[kind]}
    yield from _strange("schedule", schedule, sorted(own))


def _wrong_namespace(namespace: Mapping[str, Any]) -> Iterator[str]:
    definition, text = namespace.get("definition"), namespace.get("format")
    yield from _wrong("namespace.definition", definition, plain.NAMESPACES)
    yield from _strange("namespace", namespace, ("definition", "format"))
    if definition == _CUSTOM and not isinstance(text, str):
        yield "namespace has no format. Remedy: write e.g. '${SOURCE_NAMESPACE}_raw'"
    if definition != _CUSTOM and text is not None:
        yield f"namespace.format is of no use with {definition}. Remedy: take it out, or write {_CUSTOM}"


def _wrong_streams(streams: Mapping[str, Any]) -> Iterator[str]:
    for name, one in streams.items():
        if not isinstance(one, Mapping):
            yield f"streams.{name} is {one!r}. Remedy: write a mapping with sync_mode"
            continue
        if len(split(name)) > _PARTS:
            yield f"streams.{name}: the name has too many dots. Remedy: write namespace.name, dots inside as \\."
        yield from _wrong_stream(f"streams.{name}", one)


def _wrong_stream(place: str, one: Mapping[str, Any]) -> Iterator[str]:
    mode, fields = one.get("sync_mode"), one.get("fields")
    yield from _wrong(f"{place}.sync_mode", mode, tuple(plain.SYNC_MODES))
    yield from _strange(place, one, _STREAM)
    for name, uses in (("cursor", plain.uses_cursor), ("primary_key", plain.uses_key)):
        if name not in one:
            continue
        if mode in plain.SYNC_MODES and not uses(str(mode)):
            yield f"{place}.{name} is of no use with {mode}. Remedy: take it out, or change sync_mode"
        paths = one[name] if isinstance(one[name], list) else [one[name]]
        left = [path for path in paths if isinstance(fields, list) and path not in fields]
        if left:
            yield f"{place}.{name} has {left[0]!r}, which fields does not select. Remedy: add it to fields"
    for name in _LISTS:
        if not isinstance(one.get(name, []), list):
            yield f"{place}.{name} is {one[name]!r}. Remedy: write a list of dotted paths"


def _strange(place: str, value: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    for name in sorted(map(str, value.keys() - set(known)))[:1]:
        yield f"{place} has no {name!r}. Remedy: it has {', '.join(known)}"


def _wrong(name: str, value: Any, words: Sequence[str]) -> Iterator[str]:
    if value not in words:
        yield f"{name} is {value!r}. Remedy: one of {', '.join(words)}"
