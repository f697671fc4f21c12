"""Connections from the environment become sources, destinations and stages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.protocols import Destination, Source, Stage
from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.postgres.settings import PostgresSettings


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
    if parts.conn_type == "postgres":
        from airflow_elt_provider.connectors.postgres.source import PostgresSource

        return PostgresSource(_postgres(parts))
    raise _not_a(parts, "source", "postgres")


def destination(conn_id: str) -> Destination:
    """Return the destination behind a connection. :raises ConfigurationError: when its type is no destination."""
    parts = connection(conn_id)
    if parts.conn_type == "postgres":
        from airflow_elt_provider.connectors.postgres.destination import PostgresDestination

        return PostgresDestination(_postgres(parts))
    if parts.conn_type == "duckdb":
        from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
        from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings

        return DuckdbDestination(DuckdbSettings.parse({"path": _duckdb_path(parts), **parts.extra}))
    raise _not_a(parts, "destination", "postgres, duckdb")


def stage(uri: str, conn_id: str | None) -> Stage:
    """Return the stage at a URI. :raises ConfigurationError: when nothing is known for its scheme."""
    scheme = uri.partition("://")[0]
    if scheme == "file":
        from airflow_elt_provider.stages.local import LocalStage

        return LocalStage(uri)
    if scheme == "s3":
        return _s3(uri, connection(conn_id) if conn_id else None)
    raise ConfigurationError(f"{uri!r} is not a stage.", hint="use file:///shared/folder or s3://bucket/prefix")


def _postgres(parts: ConnectionParts) -> PostgresSettings:
    from airflow_elt_provider.connectors.postgres.settings import PostgresSettings

    own = {
        "host": parts.host,
        "port": parts.port,
        "user": parts.login,
        "password": parts.password,
        "dbname": parts.schema,
    }
    return PostgresSettings.parse({**own, **parts.extra})


def _duckdb_path(parts: ConnectionParts) -> str:
    # duckdb:///data/lake.duckdb as a URI has the path where others have the schema; as JSON it is the host.
    return parts.host or f"/{parts.schema or ''}"


def _revealed(parts: ConnectionParts | None) -> str | None:
    return parts.password.reveal() if parts and parts.password else None


def _not_a(parts: ConnectionParts, what: str, known: str) -> ConfigurationError:
    return ConfigurationError(
        f"Connection {parts.conn_id!r} has type {parts.conn_type!r}, which is no {what}.", hint=f"use one of: {known}"
    )


def _s3(uri: str, parts: ConnectionParts | None) -> Stage:
    try:
        import boto3
    except ImportError:
        raise ConfigurationError(
            f"Stage {uri} needs boto3.", hint="pip install 'airflow-elt-provider[amazon]'"
        ) from None
    from airflow_elt_provider.stages.s3 import S3Stage

    extra: dict[str, Any] = dict(parts.extra) if parts else {}
    session = boto3.Session(
        aws_access_key_id=(parts.login if parts else None) or extra.get("aws_access_key_id"),
        aws_secret_access_key=_revealed(parts) or extra.get("aws_secret_access_key"),
        aws_session_token=extra.get("aws_session_token"),
        region_name=extra.get("region_name"), profile_name=extra.get("profile_name"),
    )  # fmt: skip
    endpoint = extra.get("endpoint_url")
    return S3Stage.parse(uri, lambda: session.client("s3", endpoint_url=endpoint), extra)
