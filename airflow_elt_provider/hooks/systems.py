"""From a connection id to a source, a destination or a stage: connection -> type -> registry -> hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow_elt_provider.core.protocols import Destination, Source, Stage
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection
from airflow_elt_provider.registry import (
    StageKind,
    System,
    find_folder,
    find_stage,
    find_system,
    missing_extra,
    refuse_tables_only,
    resolve,
    stage_kinds,
)

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.config_as_code.folders import Folder


class SystemHook(Protocol):
    """What the operators ask of a system's hook."""

    def get_source(self) -> Source:
        """Return the source behind the connection; it connects when it is used."""

    def get_destination(self) -> Destination:
        """Return the destination behind the connection; it connects when it is used."""

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""


def source_hook(conn_id: str, path: str | None = None) -> SystemHook:
    """Return the hook of a connection that tables, or the files of a path, are read through.

    :raises ConfigurationError: for a missing connection, a type that is no source of that, or a missing driver.
    """
    if path is not None:
        refuse_tables_only(airflow_connection(conn_id).conn_type or "", conn_id)
    return _system_hook(conn_id, "source")


def destination_hook(conn_id: str) -> SystemHook:
    """Return the hook of a connection that tables are written through.

    :raises ConfigurationError: for a missing connection, a type that is no destination, or a missing driver.
    """
    return _system_hook(conn_id, "destination")


def get_stage(uri: str, conn_id: str | None) -> Stage:
    """Return the stage at a URI.

    :raises ConfigurationError: for an unknown scheme, a connection that does not lead there, or a missing driver.
    """
    row = find_stage(uri)
    if conn_id:
        _refuse_other_type(row, conn_id, uri)
    stage: Stage = _hook(row, conn_id).get_stage(uri)
    return stage


def get_folder(uri: str, conn_id: str | None) -> Folder:
    """Return the folder of small files at a URI.

    :raises ConfigurationError: as :func:`get_stage`.
    """
    row = find_folder(uri)
    if conn_id:
        _refuse_other_type(row, conn_id, uri)
    folder: Folder = _hook(row, conn_id).get_folder(uri)
    return folder


def _system_hook(conn_id: str, role: str) -> SystemHook:
    row = find_system(airflow_connection(conn_id).conn_type or "", conn_id, role)
    resolve(getattr(row, role), row)  # a missing driver is found before anything moves
    hook: SystemHook = _hook(row, conn_id)
    return hook


def _hook(row: System | StageKind, conn_id: str | None) -> Any:
    try:
        return resolve(row.hook, row)(conn_id)
    except ModuleNotFoundError as error:
        if not row.extra:
            raise
        raise missing_extra(row, error.name or "") from error


def _refuse_other_type(row: StageKind, conn_id: str, uri: str) -> None:
    kinds = {kind.conn_type for kind in stage_kinds() if kind.scheme == row.scheme and kind.conn_type}
    conn_type = airflow_connection(conn_id).conn_type
    if kinds and conn_type not in kinds:
        raise ConfigurationError(
            f"Connection {conn_id!r} has type {conn_type!r}, which does not lead to the stage {uri}.",
            hint=f"use a connection of type {', '.join(sorted(kinds))}",
        )
