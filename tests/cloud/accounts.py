"""Real accounts as the contract suite sees them: opened through our hooks, looked into through Airflow's own.

For each system that `ELT_CLOUD` names (by commas: snowflake, bigquery, databricks, hologres):

    AIRFLOW_CONN_ELT_CLOUD_<SYSTEM>         the connection, as the page on the system describes it
    ELT_CLOUD_<SYSTEM>_STAGE                URI of a stage that it reads, e.g. s3://my-test-bucket/elt
    AIRFLOW_CONN_ELT_CLOUD_<SYSTEM>_STAGE   the stage's connection, where it needs one

The database, project or catalog must be there for nothing else: schemas `raw` and `_elt` are emptied.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from airflow_elt_provider.hooks.systems import get_stage
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, made_by
from tests.contract.bigquery_at_work import EXCEPTIONS as OF_BIGQUERY
from tests.contract.bigquery_at_work import BigQueryAtWork
from tests.contract.databricks_at_work import DatabricksAtWork
from tests.contract.hologres_at_work import EXCEPTIONS as OF_HOLOGRES
from tests.contract.hologres_at_work import HologresAtWork
from tests.contract.snowflake_at_work import SnowflakeAtWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Destination, Stage


@dataclass(frozen=True)
class Account:
    """Where one system is, as the environment says.

    :param prefix: of this process's files on the stage.
    """

    system: str
    prefix: str

    @property
    def conn_id(self) -> str:
        return f"elt_cloud_{self.system}"

    def stage(self, folder: Path) -> Stage:
        """Return the stage; every test has a folder of its own."""
        uri = os.environ[f"ELT_CLOUD_{self.system.upper()}_STAGE"].rstrip("/")
        conn_id = f"{self.conn_id}_stage"
        known = f"AIRFLOW_CONN_{conn_id.upper()}" in os.environ
        return get_stage(f"{uri}/{self.prefix}/{folder.name}", conn_id if known else None)


class _InTheCloud:
    """What is the same for all: the account takes the emulator's place."""

    account: Account

    @classmethod
    def reopen(cls, system: str, prefix: str) -> Self:
        return cls(Account(system, prefix))  # type: ignore[call-arg]

    def recipe(self) -> dict[str, Any]:
        return made_by(self, system=self.account.system, prefix=self.account.prefix)

    def stage(self, folder: Path) -> Stage:
        return self.account.stage(folder)


class CloudSnowflake(_InTheCloud, SnowflakeAtWork):
    """A Snowflake account."""

    def __init__(self, account: Account) -> None:
        from airflow_elt_provider.hooks.snowflake import EltSnowflakeHook

        self.account, self._found = account, EltSnowflakeHook(account.conn_id).settings()
        super().__init__(0, "", self._found.database)

    def settings(self, **_: Any) -> Any:
        return self._found

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

        with closing(SnowflakeHook(self.account.conn_id).get_conn()) as connection:
            yield connection.cursor()


class CloudBigQuery(_InTheCloud, BigQueryAtWork):
    """A project of Google's."""

    def __init__(self, account: Account) -> None:
        from airflow_elt_provider.hooks.bigquery import EltBigQueryHook

        self.account, self._found = account, EltBigQueryHook(account.conn_id).settings()
        super().__init__("", "", self._found.project)

    def open(self, observe: Callable[[str], None]) -> Destination:
        from airflow_elt_provider.connectors.bigquery.destination import BigQueryDestination

        return BigQueryDestination(self._found, observe=observe)

    @cached_property
    def client(self) -> Any:
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        return BigQueryHook(gcp_conn_id=self.account.conn_id).get_client(project_id=self.project)


class CloudDatabricks(_InTheCloud, DatabricksAtWork):
    """A SQL warehouse."""

    def __init__(self, account: Account) -> None:
        from airflow_elt_provider.hooks.databricks import EltDatabricksHook

        self.account, self._found = account, EltDatabricksHook(account.conn_id).settings()
        super().__init__({}, {})

    def open(self, observe: Callable[[str], None]) -> Destination:
        from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination

        self._opened.append(DatabricksDestination(self._found, observe=observe))
        return self._opened[-1]

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

        with closing(DatabricksSqlHook(self.account.conn_id).get_conn()) as connection:
            yield connection.cursor()


class CloudHologres(_InTheCloud, HologresAtWork):
    """A Hologres instance."""

    def __init__(self, account: Account) -> None:
        from airflow_elt_provider.hooks.hologres import EltHologresHook

        self.account, self._found = account, EltHologresHook(account.conn_id).settings()
        super().__init__(None, self._found.dbname)  # type: ignore[arg-type]

    def open(self, observe: Callable[[str], None]) -> Destination:
        from airflow_elt_provider.connectors.hologres.destination import HologresDestination

        return HologresDestination(self._found, observe=observe)

    def _connect(self) -> Any:
        import psycopg2

        password = self._found.password.reveal() if self._found.password else None
        connection = psycopg2.connect(**self._found.keywords(), password=password)
        connection.autocommit = True
        return connection

    def wipe(self, target: str) -> None:
        self.run(f"DROP TABLE IF EXISTS {target}")
        self.run("DROP SCHEMA IF EXISTS _elt CASCADE")


_KINDS: dict[str, tuple[type[Any], dict[str, str]]] = {
    "snowflake": (CloudSnowflake, {}),
    "bigquery": (CloudBigQuery, OF_BIGQUERY),
    "databricks": (CloudDatabricks, {}),
    "hologres": (CloudHologres, OF_HOLOGRES),
}


def _candidate(system: str) -> DestinationCandidate:
    kind, exceptions = _KINDS[system]

    @contextmanager
    def lend(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
        del servers, folder
        work = kind(Account(system, uuid4().hex[:8]))
        for table in ("raw.item", "raw.typed"):
            work.wipe(table)
        work.run("CREATE SCHEMA IF NOT EXISTS raw")
        yield work

    return DestinationCandidate(lend, exceptions=exceptions)


ASKED_FOR = [name.strip() for name in os.environ.get("ELT_CLOUD", "").split(",") if name.strip()]
DESTINATIONS = {system: _candidate(system) for system in ASKED_FOR}
