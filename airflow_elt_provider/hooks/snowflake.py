"""Snowflake, with every way to log in that Airflow's own hook knows."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowException, BaseHook
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection, extras

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.snowflake.destination import SnowflakeDestination
    from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings
    from airflow_elt_provider.core.protocols import Source
    from airflow_elt_provider.core.table_ref import TableRef

_OURS: Final = "elt_"
_NOT_OF_THE_DRIVER: Final = frozenset({
    "azure_conn_id", "grant_type", "oauth_password", "oauth_username", "refresh_token", "scope", "token_endpoint",
})  # fmt: skip
"""What Airflow's hook needs to get a token, and the driver does not know."""
_OF_OAUTH: Final = frozenset({"client_id", "client_secret"})
_TAGS: Final = {"dag": "AIRFLOW_CTX_DAG_ID", "task": "AIRFLOW_CTX_TASK_ID"}
"""Airflow sets these while a task runs."""


class EltSnowflakeHook(BaseHook):
    """Translates a connection of type ``snowflake`` for a session of our own.

    Everything that ``SnowflakeHook`` reads from the connection counts here too: password, key pair
    (``private_key_file`` or ``private_key_content``, the password is its passphrase), OAuth (``refresh_token``,
    ``token_endpoint``, ``grant_type``, ``azure_conn_id``), programmatic access tokens, workload identity, ``host``,
    ``port``, proxies, ``session_parameters``. Extras of ours begin with ``elt_``; see the page on Snowflake.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "snowflake_default"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_source(self) -> Source:
        """Snowflake is no source in this version. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self.conn_id!r} leads to Snowflake, which is no source.", hint="use it as the destination"
        )

    def get_destination(self) -> SnowflakeDestination:
        """Return the destination behind the connection; it logs in when it is used.

        :raises ConfigurationError: when the connection is incomplete, or its key cannot be read.
        """
        from airflow_elt_provider.connectors.snowflake.destination import SnowflakeDestination

        return SnowflakeDestination(self.settings())

    def settings(self) -> SnowflakeSettings:
        """Return where the account is and how to log in."""
        from airflow_elt_provider.connectors.snowflake.settings import SECRETS, SnowflakeSettings

        extra = extras(airflow_connection(self.conn_id))
        ours = {name: value for name, value in extra.items() if name.startswith(_OURS)}
        for name in ("login_timeout", "network_timeout", "protocol"):
            if name in extra:
                ours[name] = extra[name]
        hook = self._airflow_hook()
        first = [self._arguments(hook)]  # read here and now, not in the thread that first logs in

        def credentials() -> Mapping[str, Secret]:
            # A token ends, and a merge may log in hours after its extract: it is asked for anew.
            arguments = first.pop() if first else self._arguments(hook)
            return {name: _secret(value) for name, value in arguments.items() if name in SECRETS}

        public = {name: value for name, value in first[0].items() if name not in SECRETS}
        return SnowflakeSettings.parse({
            **public, **ours, "elt_credentials": credentials, "elt_query_tag": query_tag(),
        })  # fmt: skip

    def _airflow_hook(self) -> Any:
        from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

        return SnowflakeHook(snowflake_conn_id=self.conn_id)

    def _arguments(self, hook: Any) -> dict[str, Any]:
        """Return the arguments that Airflow's hook would call the driver with."""
        try:
            made = hook._get_conn_params  # noqa: SLF001 - a property in older versions; nothing public has them all
            given = dict(made() if callable(made) else made)
        except (AirflowException, OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has no usable login: {error}",
                hint="see 'Snowflake Connection' in the documentation of apache-airflow-providers-snowflake",
            ) from None  # the cause may hold the key
        wanted = {name: value for name, value in given.items() if name not in _NOT_OF_THE_DRIVER}
        if given.get("authenticator") == "oauth":
            wanted = {name: value for name, value in wanted.items() if name not in _OF_OAUTH}
        elif "private_key" in given:
            wanted.pop("password", None)  # it was the key's passphrase
        return {name: value for name, value in wanted.items() if value is not None and value != ""}

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        from airflow_elt_provider.connectors.snowflake.dialect import SnowflakeDialect

        connection, extra = airflow_connection(self.conn_id), extras(airflow_connection(self.conn_id))
        exact = extra.get("elt_identifiers") == "exact"
        dialect = SnowflakeDialect(str(extra.get("database", "")), connection.schema or "PUBLIC", exact=exact)
        name = ".".join(map(dialect.fold, dialect.parts(table)))
        return f"snowflake://{extra.get('account', '')}", name


def query_tag() -> dict[str, str]:
    """Return what says which task runs, as far as Airflow has said so."""
    return {name: os.environ[variable] for name, variable in _TAGS.items() if os.environ.get(variable)}


def _secret(value: Any) -> Secret:
    """Hide a value; a key comes as bytes, and is kept in base64."""
    return Secret(base64.b64encode(value).decode() if isinstance(value, bytes) else str(value))
