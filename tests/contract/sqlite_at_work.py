"""SQLite at work: the destination that docs/own-destination.md shows how to write, from another package."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from airflow_elt_provider.core.table_ref import TableRef
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, Shown, local_stage, made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_elt_provider.core.protocols import Destination, Stage

EXAMPLE = Path(__file__).parents[2] / "docs" / "own-destination"
TYPES = {
    "c_smallint": Shown("INTEGER"),
    "c_numeric": Shown("TEXT"),
    "c_real": Shown("REAL", ("1.5", None)),
    "c_double": Shown("REAL", ("0.1", "-Inf")),
    "c_boolean": Shown("INTEGER", ("1", "0")),
    "c_char": Shown("TEXT", ("ab  ", "abcd")),
    "c_inet": Shown("TEXT", ("10.0.0.1/8", "::1")),
    "c_bytea": Shown("BLOB", ("00FF0A22", "")),
    "c_timestamp": Shown("TIME_TEXT", ("2024-01-01 00:00:00.000001", "-infinity")),
    "c_timestamptz": Shown("TIME_TEXT", ("2024-06-01 03:00:00.123456Z", "infinity")),
    "c_time": Shown("TIME_TEXT", ("01:02:03.000004", "24:00:00")),
    "c_money": Shown("TEXT", ("1234.56", "-0.01")),
}
EXCEPTIONS = {
    "test_widened_and_conflicting_types*": "SQLite cannot change a column's type",
    "test_drift_policies*": "decimals are text there, in which no value is too long",
    "test_intervals_of_numbers*": "the same: text does not sort as numbers do, and no column_types help",
}


@dataclass
class SqliteAtWork:
    """A SQLite file."""

    path: Path
    kind: str = "sqlite"
    keeps_numeric: bool = False
    nulled: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, Shown] = field(default_factory=lambda: TYPES)

    @classmethod
    def reopen(cls, path: str) -> Self:
        return cls(Path(path))

    def recipe(self) -> dict[str, Any]:
        return made_by(self, path=str(self.path))

    def open(self, observe: Callable[[str], None]) -> Destination:
        sys.path[:0] = [] if str(EXAMPLE) in sys.path else [str(EXAMPLE)]
        from elt_sqlite.destination import SqliteDestination

        return SqliteDestination(str(self.path), observe=observe)

    def stage(self, folder: Path) -> Stage:
        return local_stage(folder)

    def name(self, target: str) -> str:
        return '"' + str(TableRef.parse(target)).replace('"', '""') + '"'

    def text(self, expression: str) -> str:
        return f"CASE typeof({expression}) WHEN 'blob' THEN hex({expression}) ELSE CAST({expression} AS text) END"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def run(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(sql)

    def version_of(self, target: str) -> object:
        return self.query(f"SELECT count(*), max(rowid), group_concat(id || name) FROM {self.name(target)}")

    def columns(self, target: str) -> dict[str, str]:
        table = str(TableRef.parse(target)).replace("'", "''")
        return dict(self.query(f"SELECT name, type FROM pragma_table_info('{table}')"))

    def staging_tables(self) -> list[str]:
        return [name for (name,) in self.query("SELECT name FROM sqlite_master WHERE name LIKE '_elt_staging_%'")]

    def wipe(self, target: str) -> None:
        del target
        self.path.unlink(missing_ok=True)


@contextmanager
def sqlite(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a SQLite destination."""
    del servers
    yield SqliteAtWork(folder / "warehouse.sqlite")


CANDIDATES = {"sqlite": DestinationCandidate(sqlite, stride=4, histories=0.3, exceptions=EXCEPTIONS)}
