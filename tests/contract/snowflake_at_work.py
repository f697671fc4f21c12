"""Snowflake at work: the emulator fakesnow, loaded from a bucket of moto's.

What it does not show: names match whatever their case, a JSON text stays as it is in VARIANT (Snowflake sorts keys and
keeps the last of two), floats print as DuckDB's, there are no privileges and no logins. `servers/snowflake_cursor.py`
says what is put right in it: locks, MERGE, DDL in a transaction, blocks. The statements that Snowflake itself gets are
in `tests/connectors/snowflake/test_snowflake_golden_sql.py`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from airflow_elt_provider.connectors.snowflake.dialect import SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings
from airflow_elt_provider.connectors.snowflake.types import spelled
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.stages.s3 import S3Stage
from servers.processes import LOOPBACK
from servers.s3 import S3Server
from servers.snowflake import SnowflakeServer
from servers.snowflake import unavailable as of_the_server
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, Shown, made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Destination, Stage

BUCKET = "elt-contract"
_JSON = "VARIANT"
TYPES = {
    "c_smallint": Shown("NUMBER(5,0)"),
    "c_integer": Shown("NUMBER(10,0)"),
    "c_bigint": Shown("NUMBER(19,0)"),
    "c_numeric_p_s": Shown("NUMBER(38,18)"),
    "c_numeric_nan": Shown("NUMBER(10,2)", (None, "1.50")),
    "c_numeric_wide": Shown("VARCHAR"),
    "c_numeric": Shown("VARCHAR"),
    "c_real": Shown("FLOAT", ("1.5", "nan")),
    "c_double": Shown("FLOAT", ("0.1", "-inf")),
    "c_boolean": Shown("BOOLEAN"),
    "c_text": Shown("VARCHAR"),
    "c_varchar": Shown("VARCHAR"),
    "c_char": Shown("VARCHAR", ("ab  ", "abcd")),
    "c_bytea": Shown("BINARY", ("\\x00\\xFF\\x0A\\x22", "")),
    "c_date": Shown("DATE", ("2024-02-29", None)),
    "c_date_bc": Shown("DATE", (None, None)),
    "c_timestamp": Shown("TIMESTAMP_NTZ(9)", ("2024-01-01 00:00:00.000001", None)),
    "c_timestamptz": Shown("TIMESTAMP_TZ(9)", ("2024-06-01 03:00:00.123456+00", None)),
    "c_timestamptz_far": Shown("TIMESTAMP_TZ(9)", (None, None)),
    "c_time": Shown("TIME(9)", ("01:02:03.000004", None)),
    "c_timetz": Shown("VARCHAR"),
    "c_interval": Shown("VARCHAR"),
    "c_uuid": Shown("VARCHAR(36)"),
    "c_json": Shown(_JSON),
    "c_jsonb": Shown(_JSON),
    "c_int_array": Shown(_JSON, ("[[1,2],[3,null]]", "[]")),
    "c_text_array": Shown(_JSON, ('["a,b","c\\"d","\\\\",null,"NULL",""]', '["{x}","ü\\n"]')),
    "c_bool_array": Shown(_JSON, ("[true,false,null]", "[true]")),
    "c_bound_array": Shown(_JSON, ("[7,8,9]", "[1]")),
    "c_enum": Shown("VARCHAR"),
    "c_domain": Shown("NUMBER(10,0)"),
    "c_money": Shown("VARCHAR", ("1234.56", "-0.01")),
    "c_inet": Shown("VARCHAR", ("10.0.0.1/8", "::1")),
}
NULLED = {
    "c_numeric_nan": 1, "c_date": 1, "c_date_bc": 2, "c_timestamp": 1, "c_timestamptz": 1, "c_timestamptz_far": 2,
    "c_time": 1,
}  # fmt: skip


@cache
def _client(endpoint: str) -> Any:
    return S3Server().client(endpoint_url=endpoint)


@dataclass
class SnowflakeAtWork:
    """A database of an account, and a prefix of a bucket."""

    port: int
    s3: str
    database: str
    kind: str = "snowflake"
    keeps_numeric: bool = False
    nulled: Mapping[str, int] = field(default_factory=lambda: NULLED)
    types: Mapping[str, Shown] = field(default_factory=lambda: TYPES)

    @classmethod
    def reopen(cls, port: int, s3: str, database: str) -> Self:
        return cls(port, s3, database)

    def recipe(self) -> dict[str, Any]:
        return made_by(self, port=self.port, s3=self.s3, database=self.database)

    def stage(self, folder: Path) -> Stage:
        del folder
        return S3Stage(lambda: _client(self.s3), BUCKET, self.database)

    def settings(self, **more: Any) -> SnowflakeSettings:
        own = {
            "account": "test", "user": "tester", "password": "any", "host": LOOPBACK, "port": self.port,
            "protocol": "http", "network_timeout": 20, "database": self.database, "elt_lock_timeout": 20,
        }  # fmt: skip
        return SnowflakeSettings.parse({**own, **more})

    def open(self, observe: Callable[[str], None]) -> Destination:
        from airflow_elt_provider.connectors.snowflake.destination import SnowflakeDestination

        return SnowflakeDestination(self.settings(), observe=observe)

    @property
    def dialect(self) -> SnowflakeDialect:
        return SnowflakeDialect(self.database)

    def name(self, target: str) -> str:
        return self.dialect.table(TableRef.parse(target))

    def text(self, expression: str) -> str:
        return f"CAST({self.dialect.fold(expression)} AS VARCHAR)"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            return cursor.execute(sql).fetchall()  # type: ignore[no-any-return]

    def run(self, sql: str) -> None:
        self.query(sql)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        import snowflake.connector

        connection = snowflake.connector.connect(
            account="test", user="tester", password="any", host=LOOPBACK, port=self.port, protocol="http",
            network_timeout=20, database=self.database,
        )  # fmt: skip
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def version_of(self, target: str) -> object:
        hashes = "CAST(max(hash(t)) AS VARCHAR), CAST(min(hash(t)) AS VARCHAR)"
        return self.query(f"SELECT count(*), max(rowid), {hashes} FROM {self.name(target)} t")

    def columns(self, target: str) -> dict[str, str]:
        import snowflake.connector

        try:
            rows = self.query(f"DESCRIBE TABLE {self.name(target)}")
        except snowflake.connector.ProgrammingError as error:
            if error.errno != 2003:
                raise
            return {}
        return {row[0].lower(): spelled(row[1]) for row in rows}

    def staging_tables(self) -> list[str]:
        tables = self.query(f"SHOW TERSE TABLES IN SCHEMA {self.dialect.own_schema}")
        return [row[1] for row in tables if row[1].startswith(("STAGING_", "LOADING_"))]

    def wipe(self, target: str) -> None:
        self.run(f"DROP TABLE IF EXISTS {self.name(target)}")
        self.run(f"DROP SCHEMA IF EXISTS {self.dialect.own_schema} CASCADE")


class SnowflakeAndBucket:
    """A Snowflake and the bucket that it reads."""

    def __init__(self) -> None:
        self.s3 = S3Server()
        self.snowflake = SnowflakeServer(self.s3)

    def __enter__(self) -> Self:
        self.s3.start()
        self.s3.create_bucket(BUCKET)
        self.snowflake.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.snowflake.close()
        self.s3.close()


@contextmanager
def snowflake_account(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a Snowflake destination."""
    del folder
    both = servers.of(SnowflakeAndBucket)
    work = SnowflakeAtWork(both.snowflake.port, both.s3.endpoint_url, both.snowflake.create_database())
    for schema in ("RAW", "_ELT"):  # so that a first load has as many statements as the next
        work.run(f'CREATE SCHEMA "{work.database}"."{schema}"')
    yield work


def unavailable() -> str | None:
    """Return why there can be none here; None where there can."""
    if not find_spec("snowflake"):
        return "snowflake-connector-python is not installed"
    return of_the_server()


CANDIDATES = {"snowflake": DestinationCandidate(snowflake_account, unavailable, stride=11, histories=0.15)}
