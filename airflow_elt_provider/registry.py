"""The one stair between the storeys: connection type -> hook, source, destination, stage, remote.

A row names its classes as import strings, ``module:name``, so that reading the table imports none of them. Another
package adds rows by the entry-point group ``airflow_elt_provider.systems``, whose entries are a :class:`System`, a
:class:`StageKind`, a :class:`RemoteKind`, or a list of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

from airflow_elt_provider.errors import ConfigurationError

GROUP: Final = "airflow_elt_provider.systems"
_PACKAGE: Final = "airflow_elt_provider"


@dataclass(frozen=True)
class System:
    """A system that tables are read from or written to.

    :param conn_types: Airflow connection types that lead to it.
    :param hook: its hook, which has ``get_source()`` and ``get_destination()`` as far as there is a class for it.
    :param source: its source, "" when it cannot be read from.
    :param destination: its destination, "" when it cannot be written to.
    :param settings: a function that makes, without Airflow, of a connection's parts
        (:class:`~airflow_elt_provider.core.connection.ConnectionParts`) what the classes above take: for the command
        line. "" when that cannot be.
    :param extra: the optional dependency that brings its driver, "" for none.
    :param distribution: the package whose extra that is.
    :param files: whether its source reads files (``path``) and not tables.
    """

    name: str
    conn_types: tuple[str, ...]
    hook: str
    source: str = ""
    destination: str = ""
    settings: str = ""
    extra: str = ""
    distribution: str = "airflow-elt-provider"
    files: bool = False


@dataclass(frozen=True)
class StageKind:
    """A kind of stage, by the scheme of its URIs.

    :param conn_type: Airflow connection type that leads to it, "" for none.
    :param hook: its hook, which has ``get_stage(uri)``, and ``get_folder(uri)`` where there is a class for it.
    :param folder: the class that keeps small files there, which are read and replaced whole; "" for none.
    """

    scheme: str
    conn_type: str
    hook: str
    stage: str
    folder: str = ""
    extra: str = ""
    distribution: str = "airflow-elt-provider"


@dataclass(frozen=True)
class RemoteKind:
    """A remote sync engine.

    :param conn_type: Airflow connection type that leads to it.
    :param hook: its hook, which has ``get_remote()``.
    :param remote: its class.
    """

    name: str
    conn_type: str
    hook: str
    remote: str
    extra: str = ""
    distribution: str = "airflow-elt-provider"


Row: TypeAlias = System | StageKind | RemoteKind

SYSTEMS: Final = (
    System(
        name="postgres",
        conn_types=("postgres",),
        hook=f"{_PACKAGE}.hooks.postgres:EltPostgresHook",
        source=f"{_PACKAGE}.connectors.postgres.source:PostgresSource",
        destination=f"{_PACKAGE}.connectors.postgres.destination:PostgresDestination",
        settings=f"{_PACKAGE}.connectors.postgres.settings:of_connection",
    ),
    System(
        name="mysql",
        conn_types=("mysql",),
        hook=f"{_PACKAGE}.hooks.mysql:EltMySqlHook",
        source=f"{_PACKAGE}.connectors.mysql.source:MySqlSource",
        settings=f"{_PACKAGE}.connectors.mysql.settings:of_connection",
        extra="mysql",
    ),
    System(
        name="duckdb",
        conn_types=("duckdb",),
        hook=f"{_PACKAGE}.hooks.duckdb:EltDuckdbHook",
        destination=f"{_PACKAGE}.connectors.duckdb.destination:DuckdbDestination",
        settings=f"{_PACKAGE}.connectors.duckdb.settings:of_connection",
        extra="duckdb",
    ),
    System(
        name="snowflake",
        conn_types=("snowflake",),
        hook=f"{_PACKAGE}.hooks.snowflake:EltSnowflakeHook",
        destination=f"{_PACKAGE}.connectors.snowflake.destination:SnowflakeDestination",
        settings=f"{_PACKAGE}.connectors.snowflake.settings:of_connection",
        extra="snowflake",
    ),
    System(
        name="bigquery",
        conn_types=("google_cloud_platform",),
        hook=f"{_PACKAGE}.hooks.bigquery:EltBigQueryHook",
        destination=f"{_PACKAGE}.connectors.bigquery.destination:BigQueryDestination",
        settings=f"{_PACKAGE}.connectors.bigquery.settings:of_connection",
        extra="google",
    ),
    System(
        name="databricks",
        conn_types=("databricks",),
        hook=f"{_PACKAGE}.hooks.databricks:EltDatabricksHook",
        destination=f"{_PACKAGE}.connectors.databricks.destination:DatabricksDestination",
        settings=f"{_PACKAGE}.connectors.databricks.settings:of_connection",
        extra="databricks",
    ),
    System(
        name="hologres",
        conn_types=("hologres",),
        hook=f"{_PACKAGE}.hooks.hologres:EltHologresHook",
        destination=f"{_PACKAGE}.connectors.hologres.destination:HologresDestination",
        settings=f"{_PACKAGE}.connectors.hologres.settings:of_connection",
    ),
    System(
        name="files",
        conn_types=("aws", "google_cloud_platform", "fs"),
        hook=f"{_PACKAGE}.hooks.files:EltFilesHook",
        source=f"{_PACKAGE}.connectors.files.source:FilesSource",
        settings=f"{_PACKAGE}.cli.systems:files_of_connection",
        files=True,
    ),
)
STAGES: Final = (
    StageKind(
        scheme="file",
        conn_type="",
        hook=f"{_PACKAGE}.hooks.files:EltFilesHook",
        stage=f"{_PACKAGE}.stages.local:LocalStage",
        folder=f"{_PACKAGE}.stages.folder_local:LocalFolder",
    ),
    StageKind(
        scheme="s3",
        conn_type="aws",
        hook=f"{_PACKAGE}.hooks.files:EltFilesHook",
        stage=f"{_PACKAGE}.stages.s3:S3Stage",
        folder=f"{_PACKAGE}.stages.folder_s3:S3Folder",
        extra="amazon",
    ),
    StageKind(
        scheme="gs",
        conn_type="google_cloud_platform",
        hook=f"{_PACKAGE}.hooks.files:EltFilesHook",
        stage=f"{_PACKAGE}.stages.gcs:GcsStage",
        folder=f"{_PACKAGE}.stages.folder_gcs:GcsFolder",
        extra="google",
    ),
)
REMOTES: Final = (
    RemoteKind(
        name="airbyte",
        conn_type="eltairbyte",
        hook=f"{_PACKAGE}.hooks.airbyte:EltAirbyteHook",
        remote=f"{_PACKAGE}.remotes.airbyte:Airbyte",
    ),
    RemoteKind(
        name="fivetran",
        conn_type="eltfivetran",
        hook=f"{_PACKAGE}.hooks.fivetran:EltFivetranHook",
        remote=f"{_PACKAGE}.remotes.fivetran:Fivetran",
    ),
    RemoteKind(
        name="digdag",
        conn_type="eltdigdag",
        hook=f"{_PACKAGE}.hooks.digdag:EltDigdagHook",
        remote=f"{_PACKAGE}.remotes.digdag:Digdag",
    ),
)


@cache
def rows() -> tuple[Row, ...]:
    """Return all rows: ours, then those of other packages.

    :raises ConfigurationError: when an entry of another package is no row.
    """
    return (*SYSTEMS, *STAGES, *REMOTES, *_foreign_rows())


def _foreign_rows() -> Iterator[Row]:
    for entry in entry_points(group=GROUP):
        value = entry.load()
        for row in value if isinstance(value, Iterable) else [value]:
            if not isinstance(row, Row):
                raise ConfigurationError(
                    f"Entry point {entry.name!r} of group {GROUP!r} gives {row!r}.",
                    hint=f"it must be a System, a StageKind or a RemoteKind; correct or remove {entry.value!r}",
                )
            yield row


def systems() -> tuple[System, ...]:
    """Return the rows that are systems."""
    return tuple(row for row in rows() if isinstance(row, System))


def stage_kinds() -> tuple[StageKind, ...]:
    """Return the rows that are stages."""
    return tuple(row for row in rows() if isinstance(row, StageKind))


def remote_kinds() -> tuple[RemoteKind, ...]:
    """Return the rows that are remotes."""
    return tuple(row for row in rows() if isinstance(row, RemoteKind))


def find_remote(conn_type: str, conn_id: str) -> RemoteKind:
    """Return the remote of a connection type.

    :raises ConfigurationError: names the connection, its type, and the types that would do.
    """
    for row in remote_kinds():
        if row.conn_type == conn_type:
            return row
    known = ", ".join(sorted(row.conn_type for row in remote_kinds()))
    raise ConfigurationError(
        f"Connection {conn_id!r} has type {conn_type!r}, which is no remote sync engine.",
        hint=f"use a connection of one of these types: {known}",
    )


def find_system(conn_type: str, conn_id: str, role: str) -> System:
    """Return the system of a connection type.

    :param role: ``source`` or ``destination``.
    :raises ConfigurationError: names the connection, its type, and the types that would do.
    """
    able = [row for row in systems() if getattr(row, role)]
    for row in able:
        if conn_type in row.conn_types:
            return row
    known = ", ".join(sorted(kind for row in able for kind in row.conn_types))
    raise ConfigurationError(
        f"Connection {conn_id!r} has type {conn_type!r}, which is no {role}.",
        hint=f"use a connection of one of these types: {known}",
    )


def refuse_tables_only(conn_type: str, conn_id: str) -> None:
    """Refuse to read files through a connection that leads to tables.

    :raises ConfigurationError: names the connection, its type, and the types that would do.
    """
    if not find_system(conn_type, conn_id, "source").files:
        known = ", ".join(sorted(kind for row in systems() if row.files for kind in row.conn_types))
        raise ConfigurationError(
            f"Connection {conn_id!r} has type {conn_type!r}: it leads to tables, and path names files.",
            hint=f"use a connection of one of these types: {known}; or source_table, or query, instead of path",
        )


def find_stage(uri: str) -> StageKind:
    """Return the kind of stage that a URI asks for; a bare absolute path is a folder.

    :raises ConfigurationError: lists the schemes that would do.
    """
    scheme, found, _ = uri.partition("://")
    for row in stage_kinds():
        if row.scheme == (scheme if found else "file"):
            return row
    known = ", ".join(f"{row.scheme}://" for row in stage_kinds())
    raise ConfigurationError(f"{uri!r} is not the URI of a stage.", hint=f"use one that begins with {known}")


def find_folder(uri: str) -> StageKind:
    """Return the kind of stage that small files are kept in at a URI.

    :raises ConfigurationError: as :func:`find_stage`, and for a kind that has no class for it.
    """
    row = find_stage(uri)
    if not row.folder:
        raise ConfigurationError(
            f"{uri}: files at {row.scheme}:// cannot be replaced.", hint="use file://, s3:// or gs://"
        )
    return row


def resolve(text: str, row: Row) -> Any:
    """Import what a row names.

    :raises ConfigurationError: when the row's optional dependency is not installed; gives the pip command.
    """
    module, _, name = text.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not row.extra or missing.startswith(module.partition(".")[0]):
            raise
        raise missing_extra(row, missing) from error


def missing_extra(row: Row, module: str) -> ConfigurationError:
    """Return the error for an optional dependency that is not installed."""
    what = f"A stage at {row.scheme}://" if isinstance(row, StageKind) else f"The system {row.name!r}"
    return ConfigurationError(
        f"{what} needs the Python package {module!r}, which is not installed.",
        hint=f"pip install '{row.distribution}[{row.extra}]'",
    )
