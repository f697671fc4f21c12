"""The words of Airbyte's configuration API, and the plain values of our files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.remotes.config_as_code.airbyte import streams as plain
from airflow_elt_provider.remotes.config_as_code.airbyte.catalog import streams_of
from airflow_elt_provider.remotes.config_as_code.airbyte.config_operations import wrong_operations
from airflow_elt_provider.remotes.config_as_code.model import Values
from airflow_elt_provider.remotes.config_as_code.secret_values import is_mark, marked, unmarked
from airflow_elt_provider.remotes.flow import JsonObject

_NAMESPACES: Final = {"customformat": "custom_format"}
_CHANGES: Final = {"disable": "disable_connection"}
_OLD_CHANGES: Final = ("ignore", "disable_connection")
_OLD_WRITES: Final = ("overwrite", "append", "append_dedup")


# --- reading ---


def read_connection(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a ``ConnectionRead``, without its operations; source and destination by id."""
    definition, changes = item.get("namespaceDefinition"), item.get("nonBreakingChangesPreference")
    return plain.connection(
        (str(item["sourceId"]), str(item["destinationId"])),
        str(item["status"]),
        _schedule(item),
        (_NAMESPACES.get(str(definition), definition), item.get("namespaceFormat")),
        item.get("prefix"),
        _CHANGES.get(str(changes), changes),
        streams_of(item.get("syncCatalog") or {}),
    )


def _schedule(item: Mapping[str, Any]) -> dict[str, Any]:
    data = item.get("scheduleData") or {}
    kind = item.get("scheduleType")
    if kind == "cron":
        return plain.cron(str(data["cron"]["cronExpression"]), data["cron"].get("cronTimeZone"))
    basic = data.get("basicSchedule") or item.get("schedule")  # the second is how servers before 0.40 have it
    if basic and kind in {"basic", None}:
        return plain.basic(int(basic["units"]), str(basic["timeUnit"]))
    return plain.manual()


# --- writing ---


def connection_body(values: Values) -> JsonObject:
    """Return what is sent of these values; streams, operations, source and destination are not among them."""
    body: JsonObject = {name: values[name] for name in ("status", "prefix") if name in values}
    if "schedule" in values:
        body |= _sent_schedule(values["schedule"])
    if "namespace" in values:
        body["namespaceDefinition"] = _other(_NAMESPACES, values["namespace"]["definition"])
        if "format" in values["namespace"]:
            body["namespaceFormat"] = values["namespace"]["format"]
    if "non_breaking_changes" in values:
        body["nonBreakingChangesPreference"] = _other(_CHANGES, values["non_breaking_changes"])
    return body


def _sent_schedule(schedule: Mapping[str, Any]) -> JsonObject:
    kind = schedule["type"]
    if kind == "cron":
        zone = schedule.get("timezone") or plain.UTC
        data = {"cron": {"cronExpression": schedule["cron"], "cronTimeZone": zone}}
    elif kind == "basic":
        units, unit = plain.every(str(schedule["every"]))
        data = {"basicSchedule": {"units": units, "timeUnit": unit}}
    else:
        return {"scheduleType": "manual"}
    return {"scheduleType": kind, "scheduleData": data}


def actor_configuration(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> JsonObject:
    """Return a whole configuration: the server's own, with what is wanted over it; lists are replaced whole.

    :param present: with masks in the place of secrets: they are sent back, and stay.
    """
    whole: JsonObject = dict(present)
    for name, value in wanted.items():
        there = present.get(name)
        if isinstance(value, Mapping) and not is_mark(value):
            whole[name] = actor_configuration(value, there if isinstance(there, Mapping) else {})
        elif not is_mark(value):
            whole[name] = unmarked(value, there)
    return whole


def secret_parts(body: JsonObject) -> list[Secret]:
    """Return what looks like a secret in what is sent: of some connectors the server shows them, and gets them back."""
    return [*_secret_parts(body, marked(body))]


def _secret_parts(value: Any, shown: Any) -> Iterator[Secret]:
    if is_mark(shown):
        yield Secret(str(value))
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _secret_parts(one, shown[str(name)])
    elif isinstance(value, list):
        for one, other in zip(value, shown, strict=True):
            yield from _secret_parts(one, other)


def _other(words: Mapping[str, str], ours: str) -> str:
    return next((theirs for theirs, word in words.items() if word == ours), ours)


# --- what cannot be written ---


def objections(values: Values, *, old: bool) -> list[str]:
    """Return what the configuration API cannot write of a connection, each with its remedy.

    :param old: whether the server is one of 0.40, which knows less.
    """
    found = wrong_operations(values["operations"]) if "operations" in values else []
    if not old:
        return found
    changes, streams = values.get("non_breaking_changes"), values.get("streams")
    if changes in plain.CHANGES and changes not in _OLD_CHANGES:
        found.append(
            f"non_breaking_changes: this server does not know {changes}. Remedy: one of {', '.join(_OLD_CHANGES)}"
        )
    for name, one in (streams if isinstance(streams, Mapping) else {}).items():
        given = one if isinstance(one, Mapping) else {}
        mode = plain.SYNC_MODES.get(str(given.get("sync_mode")))
        if mode and mode[1] not in _OLD_WRITES:
            found.append(f"streams.{name}: this server does not know {given['sync_mode']}. Remedy: another sync_mode")
        if given.get("fields"):
            found.append(f"streams.{name}: this server selects no fields. Remedy: leave fields out, or upgrade it")
    return found
