"""DuckDB at work."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.core.table_ref import TableRef
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, Shown, local_stage, made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_elt_provider.core.protocols import Destination, Stage

TYPES = {
    "c_smallint": Shown("SMALLINT"),
    "c_integer": Shown("INTEGER"),
    "c_bigint": Shown("BIGINT"),
    "c_numeric_p_s": Shown("DECIMAL(38,18)"),
    "c_numeric_nan": Shown("DECIMAL(10,2)", (None, "1.50")),
    "c_numeric_wide": Shown("VARCHAR"),
    "c_numeric": Shown("VARCHAR"),
    "c_real": Shown("FLOAT", ("1.5", "nan")),
    "c_double": Shown("DOUBLE", ("0.1", "-inf")),
    "c_boolean": Shown("BOOLEAN"),
    "c_text": Shown("VARCHAR"),
    "c_varchar": Shown("VARCHAR"),
    "c_char": Shown("VARCHAR", ("ab  ", "abcd")),
    "c_bytea": Shown("BLOB", ("\\x00\\xFF\\x0A\\x22", "")),
    "c_date": Shown("DATE"),
    "c_date_bc": Shown("DATE", ("0044-03-15 (BC)", "-infinity")),
    "c_timestamp": Shown("TIMESTAMP"),
    "c_timestamptz": Shown("TIMESTAMP WITH TIME ZONE"),
    "c_timestamptz_far": Shown("TIMESTAMP WITH TIME ZONE", ("12024-06-01 12:00:00+00", "0044-03-15 (BC) 10:00:00+00")),
    "c_time": Shown("TIME"),
    "c_timetz": Shown("VARCHAR"),
    "c_interval": Shown("VARCHAR"),
    "c_uuid": Shown("UUID"),
    "c_json": Shown("JSON"),
    "c_jsonb": Shown("JSON"),
    "c_int_array": Shown("JSON", ("[[1,2],[3,null]]", "[]")),
    "c_text_array": Shown("JSON", ('["a,b","c\\"d","\\\\",null,"NULL",""]', '["{x}","ü\\n"]')),
    "c_bool_array": Shown("JSON", ("[true,false,null]", "[true]")),
    "c_bound_array": Shown("JSON", ("[7,8,9]", "[1]")),
    "c_enum": Shown("VARCHAR"),
    "c_domain": Shown("INTEGER"),
    "c_bit": Shown("VARCHAR"),
    "c_varbit": Shown("VARCHAR"),
    "c_money": Shown("VARCHAR", ("1234.56", "-0.01")),
    "c_int4range": Shown("VARCHAR"),
    "c_tstzrange": Shown("VARCHAR"),
    "c_inet": Shown("VARCHAR", ("10.0.0.1/8", "::1")),
    "c_cidr": Shown("VARCHAR"),
    "c_macaddr": Shown("VARCHAR"),
    "c_point": Shown("VARCHAR"),
    "c_tsvector": Shown("VARCHAR"),
    "c_composite": Shown("VARCHAR"),
    "c_pg_lsn": Shown("VARCHAR"),
}


@dataclass
class DuckdbAtWork:
    """A DuckDB file."""

    path: Path
    kind: str = "duckdb"
    keeps_numeric: bool = False
    nulled: Mapping[str, int] = field(default_factory=lambda: {"c_numeric_nan": 1})
    types: Mapping[str, Shown] = field(default_factory=lambda: TYPES)

    @classmethod
    def reopen(cls, path: str) -> Self:
        return cls(Path(path))

    def recipe(self) -> dict[str, Any]:
        return made_by(self, path=str(self.path))

    def stage(self, folder: Path) -> Stage:
        return local_stage(folder)

    def name(self, target: str) -> str:
        return target

    def text(self, expression: str) -> str:
        return f"CAST({expression} AS varchar)"

    def open(self, observe: Callable[[str], None]) -> Destination:
        return DuckdbDestination(DuckdbSettings(path=str(self.path)), observe=observe)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def run(self, sql: str) -> None:
        with duckdb.connect(str(self.path)) as connection:
            connection.execute(sql)

    def version_of(self, target: str) -> object:
        return self.query(f"SELECT count(*), max(rowid), bit_xor(hash(t)) FROM {target} t")

    def columns(self, target: str) -> dict[str, str]:
        name = TableRef.parse(target).name.replace("'", "''")
        return dict(self.query(f"SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{name}'"))

    def staging_tables(self) -> list[str]:
        return []

    def wipe(self, target: str) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_name(self.path.name + ".wal").unlink(missing_ok=True)


@contextmanager
def duckdb_file(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a DuckDB destination."""
    del servers
    yield DuckdbAtWork(folder / "warehouse.duckdb")


CANDIDATES = {"duckdb": DestinationCandidate(duckdb_file, stride=5)}
