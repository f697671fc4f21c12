"""What the hooks of all remotes have in common, and the way from a connection id to a remote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_elt_provider._compat import AirflowException, BaseHook
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError
from airflow_elt_provider.hooks.connection import airflow_connection, extras
from airflow_elt_provider.registry import find_remote, resolve

if TYPE_CHECKING:
    from airflow_elt_provider.hooks.forms import Form
    from airflow_elt_provider.remotes.config_as_code.opening import Driver
    from airflow_elt_provider.remotes.config_as_code.server import ConfigServer
    from airflow_elt_provider.remotes.model import Remote
    from airflow_elt_provider.remotes.settings import Auth, RemoteSettings
    from airflow_elt_provider.remotes.transports import RequestsTransport


class EltRemoteHook(BaseHook):
    """Reads the connection of a remote: its address, its application's credentials, and the proxy in front.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    form: ClassVar[Form]
    default_host: ClassVar[str] = ""
    default_auth: ClassVar[Auth | None] = None

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id
        self._settings: RemoteSettings | None = None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow 2 shows the standard fields."""
        return cls.form.behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the further fields that Airflow 2 shows."""
        return cls.form.widgets()

    def get_remote(self) -> Remote:
        """Return the remote behind the connection; it is asked when it is used.

        :raises ConfigurationError: when the connection cannot be meant.
        """
        raise NotImplementedError

    def get_transport(self) -> RequestsTransport:
        """Return what sends requests to it from this process."""
        from airflow_elt_provider.remotes.transports import RequestsTransport

        return RequestsTransport(self.settings())

    def get_configuration(self) -> ConfigServer:
        """Return the remote's configuration, read and changed through its API.

        :raises ConfigurationError: when the connection cannot be meant.
        """
        from airflow_elt_provider.remotes.config_as_code.opening import config_server

        return config_server(self.get_remote())

    def get_driver(self) -> Driver:
        """Return what holds long conversations with it from this process, many requests at once."""
        from airflow_elt_provider.remotes.config_as_code.opening import driver

        return driver(self.settings())

    def settings(self) -> RemoteSettings:
        """Return the server's address and credentials; the connection is read once.

        :raises ConfigurationError: for a field that cannot be meant.
        """
        if self._settings is None:
            self._settings = self._read()
        return self._settings

    def _read(self) -> RemoteSettings:
        from airflow_elt_provider.remotes.settings import parse_settings

        connection = airflow_connection(self.conn_id)
        parts = ConnectionParts(
            self.conn_id,
            str(connection.conn_type),
            connection.host or None,
            connection.port,
            connection.login or None,
            Secret(connection.password) if connection.password else None,
            connection.schema or None,
            extras(connection),
        )
        return parse_settings(
            parts,
            default_host=self.default_host,
            default_auth=self.default_auth,
            google_credentials=google_credentials,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Say whether server, proxy and application take us as we are; changes nothing.

        The message tells apart a host that is not there, a certificate, a login page, a wrong audience, a missing
        role, a clock, a wrong dialect and wrong credentials.
        """
        from airflow_elt_provider.remotes.flow import readable, run

        try:
            transport = self.get_transport()
            try:
                return True, run(readable(self.get_remote().check(), "The server"), transport) + "."
            finally:
                transport.close()
        except EltError as error:
            # The Test button gives the connection a name of its own.
            return False, re.sub(rf"\b([Cc])onnection {re.escape(repr(self.conn_id))}", r"\1onnection", str(error))


def google_credentials(conn_id: str) -> Any:
    """Return google-auth credentials of an Airflow Google connection: its key, its impersonation chain, or its own.

    :raises ConfigurationError: when there is no such connection, it cannot be meant, or the Google provider is missing.
    """
    airflow_connection(conn_id)
    try:
        from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"google_conn_id={conn_id!r} needs the Python package {error.name!r}, which is not installed.",
            hint="pip install 'airflow-elt-provider[google]', or use keyfile_dict or iap_impersonate instead",
        ) from None
    try:
        return GoogleBaseHook(gcp_conn_id=conn_id).get_credentials()
    except AirflowException as error:
        raise ConfigurationError(
            f"Google connection {conn_id!r} gives no credentials: {error}", hint="test it by itself, and correct it"
        ) from None


def remote_hook(conn_id: str, remote: str = "") -> EltRemoteHook:
    """Return the hook of a remote's connection.

    :param remote: the remote that it has to be, "" for any.
    :raises ConfigurationError: for a missing connection, or one of another type.
    """
    row = find_remote(str(airflow_connection(conn_id).conn_type or ""), conn_id)
    if remote and row.name != remote:
        raise ConfigurationError(
            f"Connection {conn_id!r} leads to {row.name}, not to {remote}.",
            hint=f"use a connection of type elt{remote}",
        )
    return cast("EltRemoteHook", resolve(row.hook, row)(conn_id))
