"""Databricks at work: the stand-in of `servers/databricks.py`, a warehouse for each test.

The wire, the Delta log, MERGE and REPLACE WHERE are real; COPY INTO and ALTER TABLE are our reading of the
documentation. Statements that write to one table wait for each other there: the conflicts that Databricks would report
are injected in `tests/connectors/databricks`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.stages.s3 import S3Stage
from airflow_elt_provider.stages.s3_settings import S3StageSettings
from servers.databricks import ENVIRONMENT, DatabricksServer
from servers.s3 import S3Server
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, Shown, made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination
    from airflow_elt_provider.core.protocols import Destination, Stage

BUCKET = "stage"
EXCEPTIONS = {
    "test_names_arrive_as_they_are?databricks-with space?": "Unity Catalog takes no blank in a table's name",
    'test_names_arrive_as_they_are?databricks-K*se "1"?': "Unity Catalog takes no blank in a table's name",
    "test_names_arrive_as_they_are?databricks-a.b?": "Unity Catalog takes no dot in a table's name",
}
FAR = ("+12024-06-01 12:00:00", "-0043-03-15 10:00:00")
TYPES = {
    "c_smallint": Shown("smallint"),
    "c_integer": Shown("int"),
    "c_bigint": Shown("bigint"),
    "c_numeric_p_s": Shown("decimal(38,18)"),
    "c_numeric_nan": Shown("decimal(10,2)", (None, "1.50")),
    "c_numeric_wide": Shown("string"),
    "c_numeric": Shown("string"),
    "c_real": Shown("float"),
    "c_double": Shown("double", ("0.1", "-inf")),  # Databricks writes -Infinity, the stand-in as it does here
    "c_boolean": Shown("boolean"),
    "c_text": Shown("string"),
    "c_char": Shown("string", ("ab  ", "abcd")),
    "c_bytea": Shown("binary", ("00FF0A22", "")),
    "c_date": Shown("date", ("2024-02-29", None)),
    "c_date_bc": Shown("date", ("-0043-03-15", None)),
    "c_timestamp": Shown("timestamp_ntz", ("2024-01-01 00:00:00.000001", None)),
    "c_timestamptz": Shown("timestamp", ("2024-06-01 03:00:00.123456", None)),
    "c_timestamptz_far": Shown("timestamp", FAR),
    "c_time": Shown("string"),
    "c_uuid": Shown("string"),
    "c_json": Shown("string"),
    "c_jsonb": Shown("string"),
    "c_int_array": Shown("string", ("[[1,2],[3,null]]", "[]")),
    "c_text_array": Shown("string", ('["a,b","c\\"d","\\\\",null,"NULL",""]', '["{x}","ü\\n"]')),
    "c_bool_array": Shown("string", ("[true,false,null]", "[true]")),
    "c_bound_array": Shown("string", ("[7,8,9]", "[1]")),
    "c_domain": Shown("int"),
    "c_money": Shown("string", ("1234.56", "-0.01")),
    "c_inet": Shown("string", ("10.0.0.1/8", "::1")),
}
NULLED = {"c_numeric_nan": 1, "c_date": 1, "c_date_bc": 1, "c_timestamp": 1, "c_timestamptz": 1}


@dataclass
class DatabricksAtWork:
    """A warehouse with a catalog of its own, and a stage on S3."""

    settings: Mapping[str, Any]
    s3: Mapping[str, str]
    kind: str = "databricks"
    keeps_numeric: bool = False
    nulled: Mapping[str, int] = field(default_factory=lambda: NULLED)
    types: Mapping[str, Shown] = field(default_factory=lambda: TYPES)
    _connection: Any = None
    _opened: list[DatabricksDestination] = field(default_factory=list)

    @classmethod
    def reopen(cls, settings: dict[str, Any], s3: dict[str, str]) -> Self:
        return cls(settings, s3)

    def recipe(self) -> dict[str, Any]:
        return made_by(self, settings=dict(self.settings), s3=dict(self.s3))

    def stage(self, folder: Path) -> Stage:
        def client() -> Any:
            import boto3
            from botocore.config import Config

            own = {name: value for name, value in self.s3.items() if name != "prefix"}
            config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
            return boto3.client("s3", region_name="us-east-1", config=config, **own)

        return S3Stage(client, BUCKET, self.s3["prefix"], S3StageSettings(folder=folder))

    def name(self, target: str) -> str:
        return ".".join(f"`{part.lower().replace('`', '``')}`" for part in TableRef.parse(target).parts)

    def text(self, expression: str) -> str:
        expression = expression.replace('"', "`") if expression.startswith('"') else expression
        return f"hex({expression})" if expression == "c_bytea" else f"CAST({expression} AS string)"

    def open(self, observe: Callable[[str], None]) -> Destination:
        from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination

        settings = {**self.settings, "token": Secret(self.settings["token"])}
        self._opened.append(DatabricksDestination(DatabricksSettings(**settings), observe=observe))
        return self._opened[-1]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def run(self, sql: str) -> None:
        self.query(sql)

    def version_of(self, target: str) -> object:
        return self.query(f"DESCRIBE HISTORY {self.name(target)} LIMIT 1")[0][0]

    def columns(self, target: str) -> dict[str, str]:
        from databricks.sql import exc

        try:
            return {row[0]: row[1] for row in self.query(f"DESCRIBE TABLE {self.name(target)}")}
        except exc.ServerOperationError:
            return {}

    def staging_tables(self) -> list[str]:
        return [row[1] for row in self.query("SHOW TABLES IN _elt LIKE 'staging_*'")]

    def wipe(self, target: str) -> None:
        self.run(f"DROP TABLE IF EXISTS {self.name(target)}")
        self.run("DROP SCHEMA IF EXISTS _elt CASCADE")

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        from databricks import sql

        if self._connection is None:
            own = {name: self.settings[name] for name in ("http_path", "schema")}
            self._connection = sql.connect(
                server_hostname=self.settings["host"], access_token=self.settings["token"],
                catalog=self.settings["catalog"], **own, **self.settings["options"],
            )  # fmt: skip
        with self._connection.cursor() as cursor:
            yield cursor

    def begin(self) -> None:
        """Make the tables that all streams share, so that no load of a test is more than its rehearsal was."""
        from airflow_elt_provider.connectors.databricks.dialect import DatabricksDialect
        from airflow_elt_provider.connectors.databricks.state import create_statements

        self.run("CREATE SCHEMA _elt")
        for sql in create_statements(DatabricksDialect("main", "default"), "none", ()):
            self.run(sql)

    def close(self) -> None:
        """End all sessions: a driver whose server is gone tries to end its own for a quarter of an hour."""
        for destination in self._opened:
            destination.close()
        if self._connection is not None:
            self._connection.close()


def s3_server() -> S3Server:
    """Return the S3 that the warehouse reads from."""
    return S3Server()


@contextmanager
def databricks(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a Databricks destination."""
    del folder
    s3 = servers.of(s3_server)
    if BUCKET not in [bucket["Name"] for bucket in s3.client().list_buckets()["Buckets"]]:
        s3.create_bucket(BUCKET)
    server = servers.of(_warehouse(s3))
    settings = {
        "host": server.host, "http_path": server.create_warehouse(), "token": server.token, "catalog": "main",
        "schema": "default", "takeover_pause": 0.0, "options": server.options,
    }  # fmt: skip
    keys = {
        "endpoint_url": s3.endpoint_url, "aws_access_key_id": s3.access_key, "aws_secret_access_key": s3.secret_key,
        "prefix": f"the stage/{uuid4().hex}",
    }  # fmt: skip
    work = DatabricksAtWork(settings, keys)
    try:
        work.run("CREATE SCHEMA raw")
        work.begin()
        yield work
    finally:
        work.close()


_WAREHOUSES: dict[int, Callable[[], DatabricksServer]] = {}


def _warehouse(s3: S3Server) -> Callable[[], DatabricksServer]:
    """Return the function that makes the server which reads from this S3: the same one each time."""
    return _WAREHOUSES.setdefault(id(s3), lambda: DatabricksServer(s3))


def unavailable() -> str | None:
    """Return why there can be no stand-in here; None where there can."""
    if not find_spec("databricks"):
        return "databricks-sql-connector is not installed"
    return ENVIRONMENT.unavailable()


CANDIDATES = {
    "databricks": DestinationCandidate(databricks, unavailable, stride=11, histories=0.15, exceptions=EXCEPTIONS),
}
