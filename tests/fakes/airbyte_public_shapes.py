"""What the public API's answers look like: camelCase, times as ISO texts, schemas nowhere."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from tests.fakes.airbyte_jobs import Job
from tests.fakes.airbyte_objects import Connection, Stream

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "postgres": {"host": "db.example", "port": 5432, "database": "app", "username": "elt", "password": "**********"},
    "bigquery": {"project_id": "project", "dataset_id": "raw", "dataset_location": "EU"},
}


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
    streams = [
        {
            "name": stream.name,
            "namespace": stream.namespace,
            "syncMode": stream.sync_mode,
            "cursorField": [stream.cursor] if stream.cursor else [],
            "primaryKey": [[column] for column in stream.primary_key],
            "selectedFields": [],
            "mappers": [],
            **connection.selections.get(stream.key, {}),
        }
        for stream in connection.streams
    ]
    return {
        "connectionId": connection.id,
        "name": connection.name,
        "sourceId": connection.source_id,
        "destinationId": connection.destination_id,
        "workspaceId": connection.workspace_id,
        "status": connection.status,
        "schedule": {"scheduleType": "manual"},
        "nonBreakingSchemaUpdatesBehavior": "ignore",
        "namespaceDefinition": "destination",
        "tags": [],
        "createdAt": int(connection.created),
        **connection.settings,
        "configurations": {"streams": streams},
    }


def source_body(source: Any) -> dict[str, Any]:
    """Return a SourceResponse of a Postgres source."""
    return _actor(source, "source", "postgres")


def destination_body(destination: Any) -> dict[str, Any]:
    """Return a DestinationResponse of a BigQuery destination."""
    return _actor(destination, "destination", "bigquery")


def workspace_body(workspace: Any) -> dict[str, Any]:
    """Return a WorkspaceResponse."""
    return {"workspaceId": workspace.id, "name": workspace.name, "dataResidency": "auto", "notifications": {}}


def properties(stream: Stream) -> dict[str, Any]:
    """Return what GET /streams says of a stream: names, no types, and `streamnamespace` in small letters."""
    modes = ["full_refresh_overwrite", "full_refresh_append"]
    return {
        "streamName": stream.name,
        "streamnamespace": stream.namespace,
        "syncModes": [*modes, "incremental_append", "incremental_deduped_history"] if stream.cursor else modes,
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


def _actor(actor: Any, role: str, kind: str) -> dict[str, Any]:
    return {
        f"{role}Id": actor.id,
        "name": actor.name,
        f"{role}Type": kind,
        "definitionId": str(uuid.uuid5(uuid.NAMESPACE_DNS, kind)),
        "workspaceId": actor.workspace_id,
        "configuration": {f"{role}Type": kind, **CONFIGURATIONS[kind]},
        "createdAt": int(actor.created),
    }
