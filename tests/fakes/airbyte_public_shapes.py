"""What the public API's answers look like: camelCase, times as ISO texts, schemas nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.fakes.airbyte_catalog import supported_modes
from tests.fakes.airbyte_connectors import Connector
from tests.fakes.airbyte_jobs import Job
from tests.fakes.airbyte_objects import Actor, Connection, Stream
from tests.fakes.airbyte_public_streams import shown_streams
from tests.fakes.airbyte_words import BEHAVIOURS, DEFAULTS, NAMESPACES, SYNC_MODES, other_word, shown_schedule


def job_body(job: Job) -> dict[str, Any]:
    """Return a JobResponse; what is not known is left out."""
    body = {
        "jobId": job.id,
        "status": job.status,
        "jobType": job.kind,
        "startTime": when(job.created),
        "connectionId": job.connection_id,
        "lastUpdatedAt": when(job.updated),
        "duration": None if job.active else duration(job.updated - job.created),
        "bytesSynced": job.bytes,
        "rowsSynced": job.rows,
    }
    return {name: value for name, value in body.items() if value is not None}


def connection_body(connection: Connection) -> dict[str, Any]:
    """Return a ConnectionResponse: the selected streams, without their schemas."""
    settings = {**DEFAULTS, **connection.settings}
    body = {
        "connectionId": connection.id,
        "name": connection.name,
        "sourceId": connection.source_id,
        "destinationId": connection.destination_id,
        "workspaceId": connection.workspace_id,
        "status": connection.status,
        "schedule": shown_schedule(settings),
        "dataResidency": settings["geography"],
        "nonBreakingSchemaUpdatesBehavior": other_word(BEHAVIOURS, settings["nonBreakingChangesPreference"]),
        "namespaceDefinition": other_word(NAMESPACES, settings["namespaceDefinition"]),
        "namespaceFormat": settings.get("namespaceFormat"),
        "prefix": settings["prefix"],
        "tags": settings.get("tags") or [],
        "createdAt": int(connection.created),
        "configurations": {"streams": shown_streams(connection)},
    }
    return {name: value for name, value in body.items() if value is not None}


def actor_body(actor: Actor, *, typed: bool) -> dict[str, Any]:
    """Return a SourceResponse or a DestinationResponse; `typed`: with its type inside the configuration."""
    role, connector = actor.connector.role, actor.connector
    return {
        f"{role}Id": actor.id,
        "name": actor.name,
        f"{role}Type": connector.type,
        "definitionId": connector.definition,
        "workspaceId": actor.workspace_id,
        "configuration": {**({f"{role}Type": connector.name} if typed else {}), **actor.shown},
        "createdAt": int(actor.created),
    }


def definition_body(connector: Connector) -> dict[str, Any]:
    """Return a DefinitionResponse."""
    return {
        "id": connector.definition,
        "name": connector.title,
        "dockerRepository": connector.repository,
        "dockerImageTag": connector.tag,
        "documentationUrl": f"https://docs.example/{connector.role}s/{connector.name}",
    }


def workspace_body(workspace: Any) -> dict[str, Any]:
    """Return a WorkspaceResponse."""
    return {"workspaceId": workspace.id, "name": workspace.name, "dataResidency": "auto", "notifications": {}}


def properties(stream: Stream) -> dict[str, Any]:
    """Return what GET /streams says of a stream: names, no types, and `streamnamespace` in small letters."""
    modes = [word for word, (mode, _) in SYNC_MODES.items() if mode in supported_modes(stream)]
    return {
        "streamName": stream.name,
        "streamnamespace": stream.namespace,
        "syncModes": modes,
        "defaultCursorField": [stream.cursor] if stream.cursor else [],
        "sourceDefinedCursorField": stream.cursor is not None,
        "sourceDefinedPrimaryKey": [[column] for column in stream.primary_key],
        "propertyFields": [[name] for name in stream.fields],
    }


def when(moment: float) -> str:
    """Return a time as the API shows it: whole seconds."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float) -> str:
    """Return a duration as Java writes it, such as PT1H2M3S."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "H"), (minutes, "M"), (rest, "S"))
    return "PT" + ("".join(f"{count}{unit}" for count, unit in parts if count) or "0S")
