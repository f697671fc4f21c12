"""Connections from the environment become sources, destinations and stages."""

from __future__ import annotations

import os
from typing import Any

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.protocols import Destination, Source, Stage
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.registry import StageKind, System, find_stage, find_system, missing_extra, resolve


def connection(conn_id: str) -> ConnectionParts:
    """Read ``AIRFLOW_CONN_<ID>``.

    :raises ConfigurationError: when it is not set, or cannot be read.
    """
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    text = os.environ.get(variable)
    if not text:
        raise ConfigurationError(
            f"Connection {conn_id!r} is not defined.",
            hint=f"export {variable} as a connection URI, e.g. postgres://user:password@host:5432/database",
        )
    return ConnectionParts.parse(conn_id, text)


def source(conn_id: str) -> Source:
    """Return the source behind a connection. :raises ConfigurationError: when its type is no source."""
    parts = connection(conn_id)
    row = find_system(parts.conn_type, conn_id, "source")
    made: Source = resolve(row.source, row)(_settings(row, parts))
    return made


def destination(conn_id: str) -> Destination:
    """Return the destination behind a connection. :raises ConfigurationError: when its type is no destination."""
    parts = connection(conn_id)
    row = find_system(parts.conn_type, conn_id, "destination")
    made: Destination = resolve(row.destination, row)(_settings(row, parts))
    return made


def stage(uri: str, conn_id: str | None) -> Stage:
    """Return the stage at a URI. :raises ConfigurationError: when nothing is known for its scheme."""
    row = find_stage(uri)
    kind = resolve(row.stage, row)
    made: Stage = _s3(kind, row, uri, connection(conn_id) if conn_id else None) if row.scheme == "s3" else kind(uri)
    return made


def _settings(row: System, parts: ConnectionParts) -> Any:
    if not row.settings:
        raise ConfigurationError(
            f"The command line cannot read connections of type {parts.conn_type!r}.", hint="use the operators"
        )
    return resolve(row.settings, row)(parts)


def _s3(kind: Any, row: StageKind, uri: str, parts: ConnectionParts | None) -> Any:
    try:
        import boto3
    except ModuleNotFoundError as error:
        raise missing_extra(row, "boto3") from error
    from airflow_elt_provider.stages.s3_settings import S3StageSettings
    from airflow_elt_provider.stages.uri import parse_stage_uri

    extra: dict[str, Any] = dict(parts.extra) if parts else {}
    session = boto3.Session(
        aws_access_key_id=(parts.login if parts else None) or extra.get("aws_access_key_id"),
        aws_secret_access_key=_revealed(parts) or extra.get("aws_secret_access_key"),
        aws_session_token=extra.get("aws_session_token"),
        region_name=extra.get("region_name"), profile_name=extra.get("profile_name"),
    )  # fmt: skip
    place = parse_stage_uri(uri)
    settings = S3StageSettings(**{name: extra[name] for name in ("sse", "kms_key_id", "acl") if extra.get(name)})
    return kind(
        lambda: session.client("s3", endpoint_url=extra.get("endpoint_url")), place.bucket, place.path, settings
    )


def _revealed(parts: ConnectionParts | None) -> str | None:
    return parts.password.reveal() if parts and parts.password else None
