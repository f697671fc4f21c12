"""Hologres: PostgreSQL's protocol, logged in to with an access key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import BaseHook
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError
from airflow_elt_provider.hooks.connection import airflow_connection, extras
from airflow_elt_provider.hooks.forms import HOLOGRES

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.hologres.destination import HologresDestination
    from airflow_elt_provider.connectors.hologres.settings import HologresSettings
    from airflow_elt_provider.core.protocols import Source
    from airflow_elt_provider.core.table_ref import TableRef

_PORT: Final = 80


class EltHologresHook(BaseHook):
    """Reads a connection of type ``hologres``: endpoint, port, access key (or ``BASIC$name`` and password), database.

    Its extra may have libpq's keywords and those of the form.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "hologres_default"
    conn_type = HOLOGRES.conn_type
    hook_name = HOLOGRES.hook_name

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow 2 shows the standard fields."""
        return HOLOGRES.behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the further fields that Airflow 2 shows."""
        return HOLOGRES.widgets()

    def get_source(self) -> Source:
        """Hologres is no source in this version. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self.conn_id!r} leads to Hologres, which is no source.", hint="use it as the destination"
        )

    def get_destination(self) -> HologresDestination:
        """Return the destination behind the connection; it connects when it is used.

        :raises ConfigurationError: when the connection is incomplete.
        """
        from airflow_elt_provider.connectors.hologres.destination import HologresDestination

        return HologresDestination(self.settings())

    def settings(self) -> HologresSettings:
        """Return where the instance is and how to log in.

        :raises ConfigurationError: names the field that is missing or wrong.
        """
        from airflow_elt_provider.connectors.hologres.settings import HologresSettings

        connection = airflow_connection(self.conn_id)
        for field, value in (("host", connection.host), ("login", connection.login), ("schema", connection.schema)):
            if not value:
                raise ConfigurationError(
                    f"Connection {self.conn_id!r} has no {field}.",
                    hint="a Hologres connection needs host (the instance's endpoint), login (AccessKey ID, or "
                    "BASIC$name), password (AccessKey secret) and schema (the database)",
                )
        login = {
            "host": connection.host,
            "port": connection.port,
            "user": connection.login,
            "password": Secret(connection.password) if connection.password else None,
            "dbname": connection.schema,
        }
        return HologresSettings.parse({**login, **extras(connection)})

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the instance lets this machine in, and what it can do."""
        try:
            return True, _probe(self.settings())
        except EltError as error:
            return False, str(error)

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        connection = airflow_connection(self.conn_id)
        parts = table.parts if len(table.parts) > 1 else ("public", *table.parts)
        namespace = f"hologres://{connection.host}:{connection.port or _PORT}"
        return namespace, ".".join((connection.schema or "", *parts))


def _probe(settings: HologresSettings) -> str:
    from airflow_elt_provider.connectors.hologres.session import HologresServer

    server = HologresServer(settings, None)
    with server.session("testing the connection") as session:
        version = ".".join(map(str, server.version(session)))
        merges = (
            "merges run in transactions"
            if server.transactional(session)
            else "merges run without transactions: only mode='merge', with deletes='ignore' or 'soft'"
        )
    return f"Hologres {version} at {settings}: {merges}."
