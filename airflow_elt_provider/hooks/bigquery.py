"""BigQuery, with every way to log in that Airflow's own Google hooks know."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowException, BaseHook
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection, extras

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.bigquery.destination import BigQueryDestination
    from airflow_elt_provider.connectors.bigquery.settings import BigQuerySettings
    from airflow_elt_provider.core.protocols import Source
    from airflow_elt_provider.core.table_ref import TableRef

_CONTEXT: Final = {"elt_dag": "AIRFLOW_CTX_DAG_ID", "elt_task": "AIRFLOW_CTX_TASK_ID"}
"""Label of a job -> variable in which Airflow tells a running task what it is."""
_LEGACY: Final = "extra__google_cloud_platform__"


class EltBigQueryHook(BaseHook):
    """Translates a connection of type ``google_cloud_platform`` for our own client.

    It logs in as ``GoogleBaseHook`` does: ``key_path``, ``keyfile_dict``, ``key_secret_name``,
    ``credential_config_file``, ``impersonation_chain``, ``scope``, ``quota_project_id``, ``is_anonymous``, or Google's
    default credentials. ``project`` and ``location`` count too. Ours are ``elt_project``, ``elt_dataset``,
    ``elt_state_dataset``, ``elt_location``, ``elt_json``, ``elt_maximum_bytes_billed``, ``elt_max_uris`` and
    ``elt_job_timeout``; see ``docs/systems/bigquery.md``.

    :param conn_id: the Airflow connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "google_cloud_default"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_source(self) -> Source:
        """BigQuery is no source in this version. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self.conn_id!r} leads to BigQuery, which is no source.", hint="use it as the destination"
        )

    def get_destination(self) -> BigQueryDestination:
        """Return the destination behind the connection; it connects when it is used.

        :raises ConfigurationError: when no project is known.
        """
        from airflow_elt_provider.connectors.bigquery.destination import BigQueryDestination

        return BigQueryDestination(self.settings())

    def settings(self) -> BigQuerySettings:
        """Return which project to work in, and how to log in."""
        from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

        from airflow_elt_provider.connectors.bigquery.names import label
        from airflow_elt_provider.connectors.bigquery.settings import BigQuerySettings

        extra = self._extra()
        hook: Any = GoogleBaseHook(gcp_conn_id=self.conn_id)
        login = self._login(hook)
        project = extra.get("elt_project") or extra.get("project") or login()[1] or ""
        labels = {name: label(os.environ[variable]) for name, variable in _CONTEXT.items() if os.environ.get(variable)}
        return BigQuerySettings.parse(
            extra, project=str(project), location=str(extra.get("location") or ""), labels=labels,
            credentials=lambda: login()[0],
        )  # fmt: skip

    def _extra(self) -> dict[str, Any]:
        found = extras(airflow_connection(self.conn_id))
        return {re.sub(f"^{_LEGACY}", "", name): value for name, value in found.items()}

    def _login(self, hook: Any) -> Callable[[], tuple[Any, str | None]]:
        def login() -> tuple[Any, str | None]:
            try:
                found: tuple[Any, str | None] = hook.get_credentials_and_project_id()
            except (AirflowException, FileNotFoundError, KeyError, PermissionError, ValueError) as error:
                raise ConfigurationError(
                    f"Connection {self.conn_id!r} has no usable Google credentials: {error}",
                    hint="correct key_path, keyfile_dict or credential_config_file in its extra",
                ) from error
            return found

        return login

    def lineage_name(self, table: TableRef) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of a table."""
        extra = self._extra()
        missing = [str(extra.get("elt_project") or extra.get("project") or ""), str(extra.get("elt_dataset") or "")]
        return "bigquery", ".".join((*missing[: max(3 - len(table.parts), 0)], *table.parts))
