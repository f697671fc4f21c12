"""MySQL and MariaDB, through the connection type of Airflow's own provider (which need not be installed)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_elt_provider._compat import BaseHook
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError
from airflow_elt_provider.hooks.connection import airflow_connection, extras

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.mysql.settings import MySqlSettings
    from airflow_elt_provider.connectors.mysql.source import MySqlSource
    from airflow_elt_provider.core.protocols import Destination
    from airflow_elt_provider.core.table_ref import TableRef

_PORT: Final = 3306


class EltMySqlHook(BaseHook):
    """Translates a connection of type ``mysql`` for PyMySQL, which needs no compiler and no client library.

    Host, port, login, password and schema (the database) count, and of the extra what Airflow's own hook reads of it:
    ``ssl`` (an object with ``ca``, ``cert``, ``key`` ...), ``ssl_mode``, ``ssl_ca`` ... and ``unix_socket``.
    ``connect_timeout``, ``read_timeout``, ``lock_timeout``, ``statement_timeout`` (seconds) and ``identity`` are ours.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "mysql_default"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_source(self) -> MySqlSource:
        """Return the source behind the connection; it connects when it is used.

        :raises ConfigurationError: when the connection is incomplete.
        """
        from airflow_elt_provider.connectors.mysql.source import MySqlSource

        return MySqlSource(self.settings())

    def get_destination(self) -> Destination:
        """MySQL is no destination in this version. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self.conn_id!r} leads to MySQL, which is no destination.", hint="use it as the source"
        )

    def settings(self) -> MySqlSettings:
        """Return where the server is and how to log in.

        :raises ConfigurationError: for an extra that is unknown, or wrong.
        """
        from airflow_elt_provider.connectors.mysql.settings import MySqlSettings

        connection = airflow_connection(self.conn_id)
        extra = extras(connection)
        if extra.get("iam"):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} asks for a token ('iam' in its extra), which this version cannot use.",
                hint="give the connection a user with a password",
            )
        login = {
            "host": connection.host,
            "port": connection.port,
            "user": connection.login,
            "password": Secret(connection.password) if connection.password else None,
            "database": connection.schema,
        }
        return MySqlSettings.parse({**login, **extra})

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the server lets this machine in."""
        from airflow_elt_provider.connectors.mysql.session import connect

        try:
            session = connect(self.settings())
        except EltError as error:
            return False, str(error)
        try:
            return True, f"{session.server} at {session.settings}"
        finally:
            session.close()

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        connection = airflow_connection(self.conn_id)
        parts = table.parts if len(table.parts) > 1 else (connection.schema or "", *table.parts)
        return f"mysql://{connection.host or 'localhost'}:{connection.port or _PORT}", ".".join(parts)
