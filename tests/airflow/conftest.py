"""A private Airflow for these tests: its own home, its own database, DAGs run in this process."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Before anything imports airflow, and in place of whatever home the caller has: `dag.test()` writes to it.
HOME = Path(tempfile.mkdtemp(prefix="elt-test-airflow-"))
DAGS = HOME / "dags"
DAGS.mkdir()
os.environ.pop("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", None)
os.environ.update({
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "AIRFLOW__OPENLINEAGE__TRANSPORT": f'{{"type": "file", "log_file_path": "{HOME}/lineage.jsonl", "append": true}}',
    "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
})  # fmt: skip

from servers.postgres import PostgresServer  # noqa: E402
from tests.airflow.in_process import environment  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def airflow_home() -> Iterator[Path]:
    """Lend the private home, and take it away at the end."""
    import shutil

    yield HOME
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL."""
    with PostgresServer() as server:
        yield server


@dataclass(frozen=True)
class Place:
    """A source database, a warehouse and a stage of one test, known to Airflow as `rds`, `lake` and `[elt] stage`."""

    server: PostgresServer
    dbname: str
    folder: Path

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Run SQL at the source."""
        with closing(self.server.connect(self.dbname)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []

    def lake(self, text: str) -> list[tuple[Any, ...]]:
        """Run SQL in the warehouse."""
        import duckdb

        with duckdb.connect(str(self.folder / "lake.duckdb")) as connection:
            return connection.execute(text).fetchall()


@pytest.fixture
def place(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Place]:
    """Lend a source with table `actor` (3 rows), an empty warehouse and an empty stage."""
    with postgres_server.database() as name:
        connections = {
            "AIRFLOW_CONN_RDS": postgres_server.airflow_connection(name),
            "AIRFLOW_CONN_LAKE": json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "lake.duckdb")}),
            "AIRFLOW__ELT__STAGE": f"file://{tmp_path}/stage",
        }
        found = Place(postgres_server, name, tmp_path)
        found.sql(
            "CREATE TABLE actor (id int PRIMARY KEY, name text NOT NULL, last_update timestamptz NOT NULL);"
            "INSERT INTO actor SELECT n, 'actor ' || n, '2026-01-01T00:00Z'::timestamptz + n * interval '1 day' "
            "FROM generate_series(1, 3) AS n"
        )
        with environment(**connections):
            yield found
