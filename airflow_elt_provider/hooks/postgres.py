"""PostgreSQL, with every way to log in that Airflow's own hook knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowException, BaseHook
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection, extras

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
    from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
    from airflow_elt_provider.connectors.postgres.source import PostgresSource
    from airflow_elt_provider.core.table_ref import TableRef

log = logging.getLogger(__name__)

_TOKEN_SECONDS: Final = 600.0
"""An RDS token opens connections for 15 minutes, Redshift's for as long or longer."""
_DRIVER_ONLY: Final = frozenset({
    "async", "autocommit", "connection_factory", "context", "cursor_factory", "prepare_threshold", "row_factory",
})  # fmt: skip
"""Extras that Airflow's hook hands to psycopg itself; they say how Python talks, not where to."""


_UNSET: Final = frozenset({"NoCredentialsError", "NoRegionError", "PartialCredentialsError", "ProfileNotFound"})
"""botocore's errors for an incomplete configuration, by name: botocore is optional."""


class _Token(Secret):
    """A password that is asked for again before it ends: a merge may log in hours after its extract."""

    __slots__ = ("_made", "_mint")

    def __init__(self, mint: Callable[[], str]) -> None:
        super().__init__(mint())
        self._mint = mint
        self._made = time.monotonic()

    def reveal(self) -> str:
        if time.monotonic() - self._made > _TOKEN_SECONDS:
            self._value, self._made = self._mint(), time.monotonic()
        return self._value


class EltPostgresHook(BaseHook):
    """Translates a connection of type ``postgres`` for our own driver.

    Everything that ``PostgresHook`` reads from the connection counts here too: host, port, login, password, schema
    (the database), libpq's keywords in the extra (``sslmode``, ``sslrootcert``, ``options`` ...), and ``iam``,
    ``aws_conn_id``, ``redshift``, ``azure_conn_id`` and their kin for short-lived tokens. Two more extras are ours:
    ``lock_timeout`` and ``statement_timeout``, in seconds.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "postgres_default"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_source(self) -> PostgresSource:
        """Return the source behind the connection; it connects when it is used.

        :raises ConfigurationError: when the connection is incomplete, or a token cannot be had.
        """
        from airflow_elt_provider.connectors.postgres.source import PostgresSource

        return PostgresSource(self.settings())

    def get_destination(self) -> PostgresDestination:
        """Return the destination behind the connection; it connects when it is used.

        :raises ConfigurationError: when the connection is incomplete, or a token cannot be had.
        """
        from airflow_elt_provider.connectors.postgres.destination import PostgresDestination

        return PostgresDestination(self.settings())

    def settings(self) -> PostgresSettings:
        """Return where the server is and how to log in."""
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        from airflow_elt_provider.connectors.postgres.settings import PostgresSettings

        connection, extra = airflow_connection(self.conn_id), extras(airflow_connection(self.conn_id))
        given: dict[str, Any] = {
            name: value
            for name, value in extra.items()
            if name not in PostgresHook.ignored_extra_options and name not in _DRIVER_ONLY
        }
        login = {
            "host": connection.host,
            "port": connection.port,
            "user": connection.login,
            "password": Secret(connection.password) if connection.password else None,
            "dbname": connection.schema,
        }
        if extra.get("iam"):
            login |= self._token_login(PostgresHook(postgres_conn_id=self.conn_id))
        return PostgresSettings.parse({**login, **given})

    def _token_login(self, hook: Any) -> dict[str, Any]:
        user, token, port = self._ask_for_token(hook)
        answers = [token]

        def mint() -> str:
            return answers.pop() if answers else self._ask_for_token(hook)[1]

        return {"user": user, "port": port, "password": _Token(mint)}

    def _ask_for_token(self, hook: Any) -> tuple[str, str, int]:
        connection = airflow_connection(self.conn_id)
        if not connection.host:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} asks for a token ('iam' in its extra) and has no host.",
                hint="give the server's own name: a token is good for one server only",
            )
        try:
            user, token, port = hook.get_iam_token(connection)
        except Exception as error:
            if not (isinstance(error, AirflowException | ValueError | ImportError) or type(error).__name__ in _UNSET):
                raise
            raise ConfigurationError(
                f"Connection {self.conn_id!r} asks for a token ('iam' in its extra), and there is none: {error}",
                hint="see 'IAM' in the documentation of apache-airflow-providers-postgres; "
                "for AWS: pip install 'airflow-elt-provider[amazon]'",
            ) from error
        return user, token, int(port)

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        connection = airflow_connection(self.conn_id)
        database = connection.schema or connection.login or ""
        namespace = f"postgres://{connection.host or 'localhost'}:{connection.port or 5432}"
        parts = table.parts if len(table.parts) > 1 else ("public", *table.parts)
        return namespace, ".".join((database, *parts))
