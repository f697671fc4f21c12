"""DuckDB: a database in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import BaseHook
from airflow_elt_provider.errors import ConfigurationError, EltError
from airflow_elt_provider.hooks.connection import airflow_connection, extras
from airflow_elt_provider.hooks.forms import DUCKDB

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
    from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
    from airflow_elt_provider.core.protocols import Source
    from airflow_elt_provider.core.table_ref import TableRef

_HEADER: Final = slice(8, 12)
_MAGIC: Final = b"DUCK"


class EltDuckdbHook(BaseHook):
    """Reads a connection of type ``duckdb``: the file is its host, or ``path`` in its extra.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "duckdb_default"
    conn_type = DUCKDB.conn_type
    hook_name = DUCKDB.hook_name

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow 2 shows the standard fields."""
        return DUCKDB.behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the further fields that Airflow 2 shows."""
        return DUCKDB.widgets()

    def get_source(self) -> Source:
        """DuckDB is no source in this version. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self.conn_id!r} leads to DuckDB, which is no source.", hint="use it as the destination"
        )

    def get_destination(self) -> DuckdbDestination:
        """Return the destination behind the connection; it opens the file when it is used.

        :raises ConfigurationError: when the connection names no file.
        """
        from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination

        return DuckdbDestination(self.settings())

    def settings(self) -> DuckdbSettings:
        """Return where the file is, and how to wait for it."""
        from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings

        extra = extras(airflow_connection(self.conn_id))
        return DuckdbSettings.parse({**extra, "path": self.path()})

    def path(self) -> str:
        """Return the database file.

        :raises ConfigurationError: when the connection names none, or a relative one.
        """
        connection = airflow_connection(self.conn_id)
        # duckdb:///data/lake.duckdb as a URI has the path where others have the schema.
        from_uri = f"/{connection.schema}" if connection.schema else ""
        path = str(extras(connection).get("path") or connection.host or from_uri)
        if not path.startswith("/"):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has {path!r} as its DuckDB file.",
                hint="give an absolute path that all workers share, e.g. /data/warehouse.duckdb",
            )
        return path

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the file can be used from this machine, changing nothing."""
        try:
            return True, _probe(Path(self.path()))
        except (EltError, OSError) as error:
            return False, str(error)

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        parts = table.parts if len(table.parts) > 1 else ("main", *table.parts)
        return "duckdb", ".".join((self.path(), *parts))


def _probe(path: Path) -> str:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise ConfigurationError(
            "The Python package 'duckdb' is not installed.", hint="pip install 'airflow-elt-provider[duckdb]'"
        ) from None
    if not path.exists():
        folder = next(parent for parent in path.parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigurationError(
                f"{path} does not exist, and {folder} is no folder that this process may write to.",
                hint="correct the path, or the folder's permissions",
            )
        return f"{path} does not exist yet; the first merge creates it (DuckDB {duckdb.__version__})."
    with path.open("rb") as file:
        if file.read(_HEADER.stop)[_HEADER] != _MAGIC:
            raise ConfigurationError(f"{path} is not a DuckDB database.", hint="name another file")
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.IOException as error:
        if "lock" in str(error):
            return f"{path} is a DuckDB database that another process is writing to just now."
        raise ConfigurationError(f"{path} cannot be opened: {error}") from error
    access = "read and write" if os.access(path, os.W_OK) else "only read: a merge would fail"
    return f"{path} is a DuckDB database that this process may {access} (DuckDB {duckdb.__version__})."
