"""Digdag, by the REST API of its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_elt_provider.hooks.remote_forms import DIGDAG
from airflow_elt_provider.hooks.remotes import EltRemoteHook

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.digdag import Digdag


class EltDigdagHook(EltRemoteHook):
    """Reads a connection of type ``eltdigdag``; its fields are those of the form.

    :param conn_id: the Airflow connection.
    """

    default_conn_name = "digdag_default"
    conn_type = DIGDAG.conn_type
    hook_name = DIGDAG.hook_name
    form = DIGDAG

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__(conn_id)

    def get_remote(self) -> Digdag:
        """Return the server behind the connection; it is asked when it is used.

        :raises ConfigurationError: when the connection cannot be meant.
        """
        from airflow_elt_provider.remotes.digdag import Digdag
        from airflow_elt_provider.remotes.opening import open_session

        return Digdag(open_session(self.settings()))
