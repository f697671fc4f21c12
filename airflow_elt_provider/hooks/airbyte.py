"""Airbyte: current servers by the public API, 0.40 by the configuration API, behind Identity-Aware Proxy or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_elt_provider.hooks.remote_forms import AIRBYTE
from airflow_elt_provider.hooks.remotes import EltRemoteHook

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.airbyte import Airbyte
    from airflow_elt_provider.remotes.settings import RemoteSettings


class EltAirbyteHook(EltRemoteHook):
    """Reads a connection of type ``eltairbyte``; its fields are those of the form.

    :param conn_id: the Airflow connection.
    """

    default_conn_name = "airbyte_default"
    conn_type = AIRBYTE.conn_type
    hook_name = AIRBYTE.hook_name
    form = AIRBYTE

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__(conn_id)

    def _read(self) -> RemoteSettings:
        """Read the connection; a path to its API is taken off."""
        from airflow_elt_provider.remotes.airbyte import without_api_path

        return without_api_path(super()._read())

    def get_remote(self) -> Airbyte:
        """Return the server behind the connection; it is asked when it is used.

        :raises ConfigurationError: when the connection cannot be meant.
        """
        from airflow_elt_provider.remotes.airbyte import Airbyte, application_token
        from airflow_elt_provider.remotes.opening import open_session

        return Airbyte(open_session(self.settings(), token=application_token))
