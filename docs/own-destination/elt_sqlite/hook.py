"""From an Airflow connection to the destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Source
    from airflow_elt_provider.core.table_ref import TableRef
    from elt_sqlite.destination import SqliteDestination


class SqliteHook:
    """Reads a connection of type ``sqlite``.

    :param conn_id: the Airflow connection.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id

    def get_destination(self) -> SqliteDestination:
        """Return the destination; it opens the file when it is used."""
        from elt_sqlite.destination import SqliteDestination

        return SqliteDestination(self._path())

    def get_source(self) -> Source:
        """SQLite is no source. :raises ConfigurationError: always."""
        raise ConfigurationError(f"Connection {self.conn_id!r} leads to SQLite, which is no source.")

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        return "sqlite", f"{self._path()}.{table.name}"

    def _path(self) -> str:
        path = airflow_connection(self.conn_id).host or ""
        if not path.startswith("/"):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has {path!r} as its file.", hint="give an absolute path as the host"
            )
        return path
