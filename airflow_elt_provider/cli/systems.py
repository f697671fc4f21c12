"""Connections from the environment become sources, destinations and stages."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.protocols import Destination, Source, Stage
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.registry import (
    StageKind,
    System,
    find_folder,
    find_stage,
    find_system,
    missing_extra,
    refuse_tables_only,
    resolve,
)

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.files.settings import FilesSettings
    from airflow_elt_provider.remotes.config_as_code.folders import Folder


class Cancelled(Protocol):
    """Something that runs on a server."""

    def cancel(self) -> None:
        """Stop it; safe from another thread, and when nothing runs."""


_opened: list[Cancelled] = []
"""What this command has opened, for whoever interrupts it."""
_OF_S3: Final = ("acl", "bucket_owner", "kms_key_id", "request_payer", "sse")


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


def hash_keys(conn_ids: Iterable[str]) -> dict[str, Secret]:
    """Return the keys of ``--hash-column``: the passwords of these connections, without those that have none.

    :raises ConfigurationError: when a connection is not set.
    """
    passwords = {conn_id: connection(conn_id).password for conn_id in dict.fromkeys(conn_ids)}
    return {conn_id: password for conn_id, password in passwords.items() if password}


def source(conn_id: str, path: str | None = None) -> Source:
    """Return the source behind a connection.

    :raises ConfigurationError: when its type is no source, or none of files where a path names some.
    """
    parts = connection(conn_id)
    if path is not None:
        refuse_tables_only(parts.conn_type, conn_id)
    row = find_system(parts.conn_type, conn_id, "source")
    made: Source = resolve(row.source, row)(_settings(row, parts))
    _opened.append(made)
    return made


def destination(conn_id: str) -> Destination:
    """Return the destination behind a connection. :raises ConfigurationError: when its type is no destination."""
    parts = connection(conn_id)
    row = find_system(parts.conn_type, conn_id, "destination")
    made: Destination = resolve(row.destination, row)(_settings(row, parts))
    _opened.append(made)
    return made


def let_be_cancelled(running: Cancelled) -> None:
    """Let this, too, hear when the command is interrupted."""
    _opened.append(running)


def cancel_all() -> None:
    """Stop what this command runs on any server; safe from another thread, and when nothing runs."""
    for system in _opened:
        system.cancel()


def stage(uri: str, conn_id: str | None) -> Stage:
    """Return the stage at a URI. :raises ConfigurationError: when nothing is known for its scheme."""
    return _stage(uri, connection(conn_id) if conn_id else None)


def files_of_connection(parts: ConnectionParts) -> FilesSettings:
    """Return how files are read through a connection."""
    from airflow_elt_provider.connectors.files.settings import SCHEMES, FilesSettings

    return FilesSettings(parts.conn_id, SCHEMES[parts.conn_type], lambda uri: _stage(uri, parts))


def folder(uri: str, conn_id: str | None) -> Folder:
    """Return the folder of small files at a URI; a path may be relative to where the command runs.

    :raises ConfigurationError: when nothing is known for its scheme.
    """
    if "://" not in uri:
        uri = str(Path(os.path.abspath(uri)))  # noqa: PTH100 - takes '..' away
    row = find_folder(uri)
    made: Folder = _opened_at(resolve(row.folder, row), row, uri, connection(conn_id) if conn_id else None)
    return made


def _stage(uri: str, parts: ConnectionParts | None) -> Stage:
    row = find_stage(uri)
    made: Stage = _opened_at(resolve(row.stage, row), row, uri, parts)
    return made


def _opened_at(kind: Any, row: StageKind, uri: str, parts: ConnectionParts | None) -> Any:
    if row.scheme == "s3":
        return _s3(kind, row, uri, parts)
    return _gcs(kind, row, uri, parts) if row.scheme == "gs" else kind(uri)


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
    settings = S3StageSettings(**{name: extra[name] for name in _OF_S3 if extra.get(name)})
    return kind(
        lambda: session.client("s3", endpoint_url=extra.get("endpoint_url")), place.bucket, place.path, settings
    )


def _gcs(kind: Any, row: StageKind, uri: str, parts: ConnectionParts | None) -> Any:
    try:
        from airflow_elt_provider.stages.gcs_login import client
    except ModuleNotFoundError as error:
        raise missing_extra(row, "google.cloud.storage") from error
    from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
    from airflow_elt_provider.stages.uri import parse_stage_uri

    extra: dict[str, Any] = dict(parts.extra) if parts else {}
    place = parse_stage_uri(uri)
    return kind(lambda: client(extra), place.bucket, place.path, GcsStageSettings.parse(extra))


def _revealed(parts: ConnectionParts | None) -> str | None:
    return parts.password.reveal() if parts and parts.password else None
