"""The configuration API's calls about connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from tests.fakes.airbyte_catalog import catalog, configuration
from tests.fakes.airbyte_config_shapes import (
    IllegalArgumentError,
    InvalidInputError,
    UnfitError,
    mapping,
    needed,
    one_of,
)
from tests.fakes.airbyte_objects import CONNECTION_WORDS, Connection, Stream
from tests.fakes.airbyte_state import AirbyteState
from tests.fakes.airbyte_words import BEHAVIOURS, DEFAULTS, KEYED, NAMESPACES, SYNC_WORDS, UNITS, cron_problem

PLAIN = (
    "namespaceFormat", "prefix", "operationIds", "resourceRequirements", "geography", "notifySchemaChanges",
    "sourceCatalogId", "tags",
)  # fmt: skip
SELECTION = ("fieldSelectionEnabled", "selectedFields")


class ConnectionCalls:
    """Connections. A change deletes no data; what it leaves out stays. `old`: as in 0.40, without selected fields."""

    def __init__(self, state: AirbyteState, *, old: bool) -> None:
        """Serve this state."""
        self._state = state
        self._catalogue = state.catalogue
        self._old = old

    def calls(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Return what is served, by path."""
        return {
            "/connections/get": lambda asked: self._read(self._connection(asked)),
            "/connections/list": lambda asked: self._list(asked, deleted=False),
            "/connections/list_all": lambda asked: self._list(asked, deleted=True),
            "/connections/create": self._create,
            "/connections/update": self._update,
            "/connections/delete": self._delete,
        }

    def _connection(self, asked: Mapping[str, Any]) -> Connection:
        return self._state.connection(needed(asked, "connectionId", str))

    def _read(self, connection: Connection) -> dict[str, Any]:
        """Return a ConnectionRead: with the JSON schemas, which the public API does not show."""
        settings = {name: value for name, value in {**DEFAULTS, **connection.settings}.items() if value is not None}
        if settings["scheduleType"] == "basic":
            settings["schedule"] = settings["scheduleData"]["basicSchedule"]
        shown = catalog(connection.streams, connection.selections)
        for item in shown["streams"]:
            _narrow(item)
        return {
            "connectionId": connection.id,
            "name": connection.name,
            **settings,
            "sourceId": connection.source_id,
            "destinationId": connection.destination_id,
            "syncCatalog": shown,
            "status": connection.status,
        }

    def _list(self, asked: Mapping[str, Any], *, deleted: bool) -> dict[str, Any]:
        workspace = self._catalogue.workspace(needed(asked, "workspaceId", str))
        found = [one for one in self._catalogue.connections.values() if one.workspace_id == workspace.id]
        return {"connections": [self._read(one) for one in found if deleted or one.status != "deprecated"]}

    def _create(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        source = self._catalogue.source(needed(asked, "sourceId", str))
        destination = self._catalogue.destination(needed(asked, "destinationId", str))
        if source.workspace_id != destination.workspace_id:
            raise IllegalArgumentError("source and destination do not belong to the same workspace")
        status = one_of("status", asked.get("status"), CONNECTION_WORDS)
        legacy = asked.get("schedule")
        if legacy and asked.get("scheduleType"):
            raise UnfitError("supply old or new schedule schema but not both")
        if legacy:
            asked = {**asked, "scheduleType": "basic", "scheduleData": {"basicSchedule": legacy}}
        asked = {"namespaceDefinition": "source", **asked}
        settings, selected = self._settings(asked, source.workspace_id), self._selected(asked)
        name = asked.get("name") or (f"{source.name} <> {destination.name}" if self._old else None)
        connection = self._state.create_connection(name, source, destination, status)
        connection.settings = settings
        connection.streams, connection.selections = selected or ([], {})
        self._state.note("connections/create", connection.id)
        return self._read(connection)

    def _update(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        connection = self._connection(asked)
        if asked.get("schedule") is not None:
            raise IllegalArgumentError("'schedule' is no longer supported: set scheduleType and scheduleData")
        status = one_of("status", asked.get("status") or connection.status, CONNECTION_WORDS)
        settings, selected = self._settings(asked, connection.workspace_id), self._selected(asked)
        if selected:
            connection.streams, connection.selections = selected
        connection.status, connection.name = status, asked.get("name") or connection.name
        connection.settings |= settings
        self._state.note("connections/update", connection.id)
        return self._read(connection)

    def _delete(self, asked: Mapping[str, Any]) -> None:
        connection = self._connection(asked)
        self._state.delete_connection(connection)
        self._state.note("connections/delete", connection.id)

    def _settings(self, asked: Mapping[str, Any], workspace_id: str) -> dict[str, Any]:
        settings = {name: asked[name] for name in PLAIN if asked.get(name) is not None}
        for operation in settings.get("operationIds", ()):
            if self._catalogue.operation(operation).workspace_id != workspace_id:
                raise IllegalArgumentError("operation does not belong to the same workspace")
        behaviours = {"ignore", "disable"} if self._old else set(BEHAVIOURS.values())
        for name, known in (("namespaceDefinition", set(NAMESPACES.values())),
                            ("nonBreakingChangesPreference", behaviours)):  # fmt: skip
            if asked.get(name) is not None:
                settings[name] = one_of(name, asked[name], known)
        return settings | _schedule(asked)

    def _selected(self, asked: Mapping[str, Any]) -> tuple[list[Stream], dict[Any, dict[str, Any]]] | None:
        """Return the streams of a catalogue that are selected, with the schemas it gives them."""
        if asked.get("syncCatalog") is None:
            return None
        streams, selections = [], {}
        for item in mapping(asked, "syncCatalog").get("streams", ()):
            stream, config = _stream(item["stream"]), dict(item.get("config") or {})
            if not config.get("selected", True):
                continue
            if self._old:
                config = {name: value for name, value in config.items() if name not in SELECTION}
            _consistent(stream, {**configuration(stream), **config})
            streams.append(stream)
            selections[stream.key] = config
        if len(selections) < len(streams):
            raise InvalidInputError("syncCatalog", "", "Duplicate stream names")
        return streams, selections


def _schedule(asked: Mapping[str, Any]) -> dict[str, Any]:
    kind, data = asked.get("scheduleType"), asked.get("scheduleData")
    if kind is None:
        if data is not None:
            raise IllegalArgumentError("there is scheduleData without a scheduleType")
        return {}
    one_of("scheduleType", kind, {"manual", "basic", "cron"})
    if kind == "manual":
        if data is not None:
            raise IllegalArgumentError("there is scheduleData for the scheduleType manual")
        return {"scheduleType": kind, "scheduleData": None}
    if not isinstance(data, Mapping):
        raise IllegalArgumentError(f"there is no scheduleData for the scheduleType {kind}")
    return {"scheduleType": kind, "scheduleData": _basic(data) if kind == "basic" else _cron(data)}


def _basic(data: Mapping[str, Any]) -> dict[str, Any]:
    basic = mapping(data, "basicSchedule")
    unit = one_of("timeUnit", basic.get("timeUnit"), UNITS)
    return {"basicSchedule": {"timeUnit": unit, "units": needed(basic, "units", int)}}


def _cron(data: Mapping[str, Any]) -> dict[str, Any]:
    cron = mapping(data, "cron")
    expression, zone = str(cron.get("cronExpression") or ""), str(cron.get("cronTimeZone") or "")
    if problem := cron_problem(expression):
        raise UnfitError(f"invalid cron expression: {problem}")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise UnfitError(f"invalid cron timezone: {zone}") from None
    return {"cron": {"cronExpression": expression, "cronTimeZone": zone}}


def _stream(described: Mapping[str, Any]) -> Stream:
    cursor = described.get("defaultCursorField") or [None]
    return Stream(
        name=described["name"],
        namespace=described.get("namespace"),
        fields=described.get("jsonSchema", {}).get("properties", {}),
        primary_key=[path[0] for path in described.get("sourceDefinedPrimaryKey") or ()],
        cursor=cursor[0],
        incremental="incremental" in (described.get("supportedSyncModes") or ()),
    )


def _narrow(item: dict[str, Any]) -> None:
    """Show of a stream's schema the selected fields alone: the server has dropped the others."""
    config, schema = item["config"], item["stream"]["jsonSchema"]
    if not config.get("fieldSelectionEnabled"):
        config.pop("selectedFields", None)
        return
    names = _selected_names(config)
    schema["properties"] = {name: kind for name, kind in schema["properties"].items() if name in names}


def _consistent(stream: Stream, config: Mapping[str, Any]) -> None:
    """Refuse modes that there are not, and a selection of fields without the key or the cursor."""
    mode, write = config["syncMode"], config["destinationSyncMode"]
    if (mode, write) not in SYNC_WORDS:
        raise InvalidInputError(f"syncCatalog.{stream.name}", f"{mode} {write}", "is no pair of sync modes")
    if not config.get("fieldSelectionEnabled"):
        return
    names = _selected_names(config)
    if missing := names - stream.fields.keys():
        raise UnfitError(f"Requested selected field {min(missing)} not found in JSON schema")
    if write in KEYED and any(path[0] not in names for path in config["primaryKey"]):
        raise UnfitError("Primary key field cannot be de-selected in DEDUP mode")
    if mode == "incremental" and config["cursorField"] and config["cursorField"][0] not in names:
        raise UnfitError("Cursor field cannot be de-selected in INCREMENTAL syncs")


def _selected_names(config: Mapping[str, Any]) -> set[str]:
    paths = [field.get("fieldPath") or [""] for field in config.get("selectedFields") or ()]
    if any(len(path) > 1 or not path[0] for path in paths):
        raise UnfitError("Selected field path must be one field of the stream")
    return {path[0] for path in paths}
