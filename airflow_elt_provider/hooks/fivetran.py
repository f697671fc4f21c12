"""Fivetran, by its REST API with an API key and secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_elt_provider.hooks.remote_forms import FIVETRAN
from airflow_elt_provider.hooks.remotes import EltRemoteHook

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.fivetran import Fivetran


class EltFivetranHook(EltRemoteHook):
    """Reads a connection of type ``eltfivetran``; its fields are those of the form.

    :param conn_id: the Airflow connection.
    """

    default_conn_name = "fivetran_default"
    conn_type = FIVETRAN.conn_type
    hook_name = FIVETRAN.hook_name
    form = FIVETRAN
    default_host = "https://api.fivetran.com"
    default_auth = "basic"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__(conn_id)

    def get_remote(self) -> Fivetran:
        """Return the server behind the connection; it is asked when it is used.

        :raises ConfigurationError: when the connection cannot be meant.
        """
        from airflow_elt_provider.remotes.fivetran import Fivetran, account_budget
        from airflow_elt_provider.remotes.opening import open_session

        return Fivetran(open_session(self.settings(), budget=account_budget()))
