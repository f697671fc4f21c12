"""The words of Airbyte's public API, and the plain values of our files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte import streams as plain
from airflow_elt_provider.remotes.config_as_code.airbyte.api import SourceStreams
from airflow_elt_provider.remotes.config_as_code.model import Values, split
from airflow_elt_provider.remotes.config_as_code.secret_values import is_mark, unmarked
from airflow_elt_provider.remotes.flow import JsonObject

_OURS: Final = frozenset({"name", "namespace", "syncMode", "cursorField", "primaryKey", "selectedFields"})
_DAY: Final = {"minutes": 60, "hours": 24}
_TIMING: Final = "every "
_ELSE: Final = "or set api to config_v1 in the connection, where the server has that API"


# --- reading ---


def read_connection(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a ``ConnectionResponse``; source and destination by id."""
    streams = {
        plain.stream_name(one.get("namespace"), one["name"]): plain.stream(
            one.get("syncMode") or plain.FULL,
            one.get("cursorField"),
            one.get("primaryKey"),
            [field["fieldPath"] for field in one.get("selectedFields") or ()],
        )
        for one in item["configurations"]["streams"]
    }
    return plain.connection(
        (item["sourceId"], item["destinationId"]),
        item["status"],
        _schedule(item.get("schedule") or {}),
        (item.get("namespaceDefinition"), item.get("namespaceFormat")),
        item.get("prefix"),
        item.get("nonBreakingSchemaUpdatesBehavior"),
        streams,
    )


def _schedule(value: Mapping[str, Any]) -> dict[str, Any]:
    kind = value.get("scheduleType")
    if kind == "cron":
        return plain.cron(str(value["cronExpression"]))
    if kind == "basic":
        units, unit = str(value["basicTiming"]).lower().removeprefix(_TIMING).split()
        return plain.basic(int(units), unit)
    return plain.manual()


# --- writing ---


def connection_body(values: Values) -> JsonObject:
    """Return what is sent of these values; streams, source and destination are not among them."""
    body: JsonObject = {}
    for name, sent in (("status", "status"), ("prefix", "prefix"),
                       ("non_breaking_changes", "nonBreakingSchemaUpdatesBehavior")):  # fmt: skip
        if name in values:
            body[sent] = values[name]
    if "schedule" in values:
        body["schedule"] = _sent_schedule(values["schedule"])
    if "namespace" in values:
        body["namespaceDefinition"] = values["namespace"]["definition"]
        if "format" in values["namespace"]:
            body["namespaceFormat"] = values["namespace"]["format"]
    return body


def _sent_schedule(schedule: Mapping[str, Any]) -> JsonObject:
    if schedule["type"] == "cron":
        return {"scheduleType": "cron", "cronExpression": f"{schedule['cron']} {plain.UTC}"}
    if schedule["type"] == "manual":
        return {"scheduleType": "manual"}
    raise ConfigurationError(objections({"schedule": schedule})[0])


def missing_in(wanted: Mapping[str, Mapping[str, Any]], found: SourceStreams) -> list[str]:
    """Return the streams and fields that are wanted and the source does not have, each with the nearest it has."""
    problems: list[str] = []
    for name, one in sorted(wanted.items()):
        if name not in found.locked:
            problems.append(f"the source has no stream {name!r}{_nearest(name, found.locked)}")
            continue
        fields = found.locked[name].fields
        given = [*([one["cursor"]] if one.get("cursor") else ()), *one.get("primary_key", ()), *one.get("fields", ())]
        strange = sorted({path[0] for path in plain.paths(given)} - fields.keys()) if fields else []
        problems += [
            f"stream {name!r} of the source has no field {field!r}{_nearest(field, fields)}" for field in strange
        ]
    return problems


def _nearest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, 3, 0.5)
    return f" (the nearest: {', '.join(near)})" if near else f" (it has {', '.join(sorted(known)[:20]) or 'none'})"


def streams_body(
    wanted: Mapping[str, Mapping[str, Any]], found: SourceStreams, present: Sequence[Mapping[str, Any]]
) -> list[JsonObject]:
    """Return the selection as it is sent.

    What the source itself defines is left out: the server refuses some of it when it is told. What our files do not
    hold of a stream (its mappers) stays as it is.

    :param present: the streams that the server has in the connection now.
    """
    before = {plain.stream_name(one.get("namespace"), one["name"]): one for one in present}
    body: list[JsonObject] = []
    for name, one in sorted(wanted.items()):
        own = found.locked[name]
        *namespace, plain_name = split(name)
        sent = {key: value for key, value in before.get(name, {}).items() if key not in _OURS and value is not None}
        sent |= {"name": plain_name, "syncMode": one["sync_mode"]}
        if namespace:
            sent["namespace"] = namespace[0]
        if one.get("cursor") and one["cursor"] != own.cursor:
            sent["cursorField"] = split(one["cursor"])
        if one.get("primary_key") and tuple(one["primary_key"]) != own.primary_key:
            sent["primaryKey"] = plain.paths(one["primary_key"])
        if one.get("fields"):
            sent["selectedFields"] = [{"fieldPath": path} for path in plain.paths(one["fields"])]
        body.append(sent)
    return body


def actor_configuration(wanted: Mapping[str, Any], present: Mapping[str, Any] | None) -> JsonObject:
    """Return a configuration as it is sent: the server merges it into its own, so what is marked is left out.

    :param present: the server's own, secrets masked; a list is replaced whole, and so its masks are sent back.
    """
    return {name: _merged(value, (present or {}).get(name)) for name, value in wanted.items() if not is_mark(value)}


def _merged(value: Any, present: Any) -> Any:
    if isinstance(value, Mapping):
        return actor_configuration(value, present if isinstance(present, Mapping) else None)
    return unmarked(value, present)


# --- what cannot be written ---


def objections(values: Values) -> list[str]:
    """Return what the public API cannot write of a connection, each with its remedy."""
    schedule = values.get("schedule")
    found: list[str] = []
    if isinstance(schedule, Mapping) and schedule.get("type") == "basic":
        found.append(
            f"schedule: Airbyte's public API cannot write type basic (every {schedule.get('every')}). "
            f"Remedy: write {{type: cron, cron: '{_as_cron(schedule)}'}}, {_ELSE}"
        )
    zone = schedule.get("timezone") if isinstance(schedule, Mapping) and schedule.get("type") == "cron" else None
    if zone and zone != plain.UTC:
        found.append(
            f"schedule: Airbyte's public API cannot write a cron with timezone {zone}. Remedy: write it in UTC, {_ELSE}"
        )
    if "streams" in values and not values["streams"]:
        found.append(
            "streams is empty, and Airbyte's public API would take that for all. "
            "Remedy: name one, or delete the connection"
        )
    if values.get("operations"):
        found.append(f"operations: Airbyte's public API has none. Remedy: leave them out, {_ELSE}")
    return found


def _as_cron(schedule: Mapping[str, Any]) -> str:
    """Return about the same as a cron expression."""
    units, unit = plain.every(str(schedule.get("every")))
    if unit in {"minutes", "hours"} and units < _DAY[unit]:
        return f"0 0/{units} * * * ?" if unit == "minutes" else f"0 0 0/{units} * * ?"
    return "0 0 0 * * ?"
