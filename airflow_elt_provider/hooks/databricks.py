"""Databricks, with every way to log in that Airflow's own hook knows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowException, BaseHook
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection, extras

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination
    from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
    from airflow_elt_provider.core.protocols import Source
    from airflow_elt_provider.core.table_ref import TableRef

_FRESH: Final = 60.0
"""Seconds for which a token is not asked for again; Airflow's hook keeps one until shortly before it ends."""
_TAGS: Final = {"dag": "AIRFLOW_CTX_DAG_ID", "run": "AIRFLOW_CTX_DAG_RUN_ID", "task": "AIRFLOW_CTX_TASK_ID"}
_OURS: Final = "elt_"
_OF_THE_HOOK: Final = frozenset({"catalog", "schema", "http_headers", "http_path", "sql_endpoint_name"})


class _Token(Secret):
    """A token that is renewed before it ends: a merge may go on for longer."""

    __slots__ = ("_made", "_mint")

    def __init__(self, mint: Callable[[], str]) -> None:
        super().__init__(mint())
        self._mint = mint
        self._made = time.monotonic()

    def reveal(self) -> str:
        if time.monotonic() - self._made > _FRESH:
            self._value, self._made = self._mint(), time.monotonic()
        return self._value


class EltDatabricksHook(BaseHook):
    """Translates a connection of type ``databricks`` for sessions of our own.

    Everything that ``DatabricksSqlHook`` reads from the connection counts here too: personal access tokens, OAuth of a
    service principal, Azure's credentials and identities, token federation; ``http_path``, ``session_configuration``
    and further arguments of ``databricks.sql.connect`` in the extra. These extras are read, too: ``catalog``,
    ``schema``, ``sql_endpoint_name``, and ours: ``elt_credential``, ``elt_credentials``, ``elt_volume``,
    ``elt_claim_seconds`` and ``elt_takeover_pause``.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "databricks_default"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_source(self) -> Source:
        """Databricks is no source in this version. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self.conn_id!r} leads to Databricks, which is no source.", hint="use it as the destination"
        )

    def get_destination(self) -> DatabricksDestination:
        """Return the destination behind the connection; it connects when it is used.

        :raises ConfigurationError: when the connection is incomplete, or a token cannot be had.
        """
        from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination

        return DatabricksDestination(self.settings())

    def settings(self) -> DatabricksSettings:
        """Return where the warehouse is and how to log in."""
        from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

        from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings

        extra = extras(airflow_connection(self.conn_id))
        hook: Any = DatabricksSqlHook(self.conn_id, caller="EltDatabricksHook")
        if not hook.host:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has no host.", hint="give the workspace's, without https://"
            )
        known = {*hook.extra_parameters, "session_configuration", *_OF_THE_HOOK}
        options = {name: value for name, value in extra.items() if name not in known and not name.startswith(_OURS)}
        for name in ("session_configuration", "http_headers"):
            if name in extra:
                options[name] = extra[name]
        return DatabricksSettings(
            host=hook.host, http_path=self._http_path(hook, extra), token=_Token(lambda: self._ask_for_token(hook)),
            catalog=str(extra.get("catalog", "")), schema=str(extra.get("schema", "")), options=options,
            tags=_tags(), **DatabricksSettings.own(extra),
        )  # fmt: skip

    def _http_path(self, hook: Any, extra: dict[str, Any]) -> str:
        name = extra.get("sql_endpoint_name")
        if extra.get("http_path") or not name:
            return str(extra.get("http_path") or "")
        try:
            return str(hook._get_sql_endpoint_by_name(name)["odbc_params"]["path"])  # noqa: SLF001 - no other way in
        except (AirflowException, RuntimeError, ValueError, KeyError) as error:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} names the SQL warehouse {name!r}, which cannot be looked up: {error}",
                hint="give its http_path instead: SQL warehouse, connection details",
            ) from error

    def _ask_for_token(self, hook: Any) -> str:
        try:
            token = hook._get_token(raise_error=True)  # noqa: SLF001 - every way to log in goes through it
        except (AirflowException, ImportError, KeyError, ValueError) as error:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} gives no token: {error}",
                hint="put a personal access token into the password, or see 'Authenticating' in the documentation of "
                "apache-airflow-providers-databricks",
            ) from error
        return str(token)

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        connection = airflow_connection(self.conn_id)
        extra = extras(connection)
        host = str(extra.get("host") or connection.host or "").removeprefix("https://").strip("/")
        # The workspace's own defaults are known only to the workspace.
        place = (str(extra.get("catalog", "")), str(extra.get("schema", "")))[: 3 - len(table.parts)]
        return f"databricks://{host}", ".".join(part.lower() for part in (*place, *table.parts) if part)


def _tags() -> dict[str, str]:
    """Return what Airflow says of the task that runs, for the history of queries."""
    return {name: os.environ[variable] for name, variable in _TAGS.items() if os.environ.get(variable)}
