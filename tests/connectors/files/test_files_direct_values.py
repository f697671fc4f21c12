"""A CSV file that goes straight into COPY leaves the very values that reading and staging it leaves, or is refused."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.connectors.postgres import direct_copy
from airflow_elt_provider.connectors.postgres.copy_feed import CopyFeed, rendered
from airflow_elt_provider.connectors.postgres.destination_session import PostgresServer as Sessions
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.settings import of_connection
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.in_place import NotInPlaceError
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Merging
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.staged_file import InPlace, Role, StagedFile
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.csv import CsvFile
from airflow_elt_provider.formats.csv_watch import WatchedCsv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.postgres import PostgresServer

TYPES = {
    "t": "text", "i": "smallint", "b": "bigint", "n": "decimal(9,2)", "f": "double precision", "r": "real",
    "o": "boolean", "d": "date", "h": "time", "s": "timestamp", "z": "timestamptz", "u": "uuid", "j": "json",
}  # fmt: skip
CELLS = {
    "t": ["a", "", "日本", " ", "NULL", "\\N", "\\.", "\x00", "a\tb", "\\", "é"],
    "i": ["0", "-1", "+5", "007", " 7", "7 ", "1_000", "0x10", "0b1", "0o7", "32768", "-32768", "1.0", "-0", "\uff11"],
    "b": ["9223372036854775807", "9223372036854775808", "0xFFFFFFFFFFFFFFFF", "1e3", "-5"],
    "n": ["1.5", "1.50", "1.005", "1e2", "+1.5", "NaN", "Infinity", "-0.00", ".5", "5.", "1_0.5", "9999999.99",
          "99999999"],
    "f": ["1.5", "1e-400", "1e400", "5e-324", "NaN", "-nan", "inf", "-Infinity", "0x1p3", "-0", "1_0", "0.1", "1d5",
          " 1 "],
    "r": ["0.1", "1e-40", "3.4028236e38", "3.5e38", "16777217", "nan"],
    "o": ["true", "f", "1", "T ", "yes", "on", "tr", "2", "FALSE"],
    "d": ["2020-02-29", "2021-02-29", "today", "epoch", "infinity", "2020-1-5", "20200105", "0000-01-01", "0001-01-01",
          "9999-12-31", "10000-01-01", "2020-01-05 BC", "J2451187", "Jan 5 2020"],
    "h": ["12:30:00", "12:30", "24:00:00", "12:30:60", "1:2:3", "12:30:00.1234567", "12:30:00.5", "allballs", "123000",
          "12:30:00 PM"],
    "s": ["2020-01-01 12:30:00", "2020-01-01T12:30:00", "2020-01-01", "2020-01-01 12:30", "2020-01-01 12", "now",
          "2020-01-01 12:30:00.123456", "2020-01-01 12:30:00.1234567", "2020-01-01 12:30:00Z", "2020-01-01 123000",
          "2020-01-01 12:30:60", "infinity", "2020-01-01 24:00:00", "20200101 123000", "2020-01-01 12:30:00+09"],
    "z": ["2020-01-01 12:30:00Z", "2020-01-01 12:30:00+09", "2020-01-01T12:30:00+09:30", "2020-01-01 12:30:00-0930",
          "2020-01-01 12:30:00", "2020-01-01 12:30:00 JST", "2020-01-01 12:30:00+9", "2020-01-01 12:30:00+25:00",
          "2020-01-01 1230Z", "2020-01-01T12:30+0930", "2020-01-01Z", "2020-01-01 12-05", "2020-01-01 123005+09"],
    "u": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
          "a0eebc999c0b4ef8bb6d6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "x"],
    "j": ['{"a": 1}', "[1, 2.50]", "null", "NaN", "{", ' {"b" :1} ', '{"a":1,"a":2}', '"\\u0000"', '"x"'],
}  # fmt: skip
SHAPES = ["{}", "{}", '"{}"', '"{}"', '"{}"x', 'x"{}"', ' "{}"', '"{}" ', '{}""', '"{}""', '"{}\n{}"', '"{},{}"']
ENDS = ["\n", "\n", "\n", "\r\n", "\r", "\n\n", ""]


@st.composite
def bodies(draw: st.DrawFn) -> tuple[tuple[str, ...], bytes]:
    """Draw columns, and a file of them in which everything may be wrong."""
    names = tuple(draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=3, unique=True)))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = ",".join(names) + end
    for _ in range(draw(st.integers(0, 4))):
        cells = [draw(_cells(name)) for name in names]
        if draw(st.integers(0, 15)) == 0:
            cells.append("x")
        text += ",".join(cells) + (draw(st.sampled_from(ENDS)) if draw(st.integers(0, 5)) == 0 else end)
    data = text.encode()
    if draw(st.integers(0, 15)) == 0:
        data += draw(st.sampled_from([b"\xff", b"\\.\n", b'"', b"\xed\xa0\x80\n"]))
    return names, data if draw(st.integers(0, 9)) else b"\xef\xbb\xbf" + data


@st.composite
def _cells(draw: st.DrawFn, name: str) -> str:
    value = draw(st.sampled_from(["", *CELLS[name], *CELLS[name][:2] * 3]))
    shape = draw(st.sampled_from(SHAPES)) if draw(st.integers(0, 2)) == 0 else "{}"
    told = shape.replace("{}", value.replace('"', '""') if '"' in shape else value)
    return f'"{value.replace(chr(34), chr(34) * 2)}"' if '"' in value and shape == "{}" else told


class Copies:
    """Two ways into a table."""

    def __init__(self, sessions: Sessions, folder: Path) -> None:
        """Remember where."""
        self.sessions, self.folder = sessions, folder

    def direct(self, names: tuple[str, ...], data: bytes) -> list[tuple[Any, ...]] | None:
        """Let COPY read the file; None where it must not."""
        load = _load(names, lambda columns: WatchedCsv("x.csv", io.BytesIO(data), columns))
        try:
            return self._filled(load, lambda session: direct_copy.copy(session, PostgresDialect(), load, "t"))
        except NotInPlaceError as error:
            event(f"refused: {' '.join(str(error).split()[1:4])}")
            return None

    def staged(self, names: tuple[str, ...], data: bytes) -> list[tuple[Any, ...]] | str:
        """Read the file, as every load did so far; what is wrong where it cannot be read."""
        path = self.folder / "x.csv"
        path.write_bytes(data)
        load, columns = _load(names, None), [(name, parse_type(TYPES[name])) for name in names]
        batches = CsvFile(path, "x.csv").batches(columns, load.manifest.schema.wire_schema())
        sql = PostgresDialect().copy_staging(load, "t")
        try:
            return self._filled(load, lambda session: session.copy_in(sql, CopyFeed(rendered(batches, list(names)))))
        except (DataError, psycopg2.DataError) as error:
            return str(error)

    def _filled(self, load: Load, fill: Any) -> list[tuple[Any, ...]]:
        with self.sessions.session("testing") as session:
            session.execute('CREATE SCHEMA IF NOT EXISTS "_elt"')
            session.execute(PostgresDialect().create_staging(load, "t"))
            fill(session)
            items = [_shown(name) for name in load.manifest.schema.names]
            rows = session.query(f"SELECT {', '.join(items)} FROM _elt.t ORDER BY ctid")
            session.rollback()
        return rows


def _shown(name: str) -> str:
    return (
        f"encode({'float8send' if name == 'f' else 'float4send'}({name}), 'hex')"
        if name in {"f", "r"}
        else f"{name}::text"
    )


def _load(names: tuple[str, ...], lent: Any) -> Load:
    schema = TableSchema(tuple(Column(name, parse_type(TYPES[name])) for name in names))

    @contextmanager
    def lend(file: StagedFile) -> Iterator[WatchedCsv]:
        del file
        yield lent({name: parse_type(TYPES[name]) for name in names})

    manifest = Manifest(
        load_id="0" * 32, run_key="", stream="s", source="x", mode=WriteMode.APPEND, deletes=DeleteMode.IGNORE,
        schema=schema, base_version=0, next_position=Position("full", "files", ()),
        files=(StagedFile("x.csv", "", 0, 0, Role.EXTERNAL, in_place=InPlace("", names)),),
    )  # fmt: skip
    return Load(manifest, ManifestRef("m"), Merging(target=TableRef.parse("t")), lend=lend)


@pytest.fixture(scope="module")
def copies(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    """Lend both."""
    with postgres_server.database() as name:
        parts = ConnectionParts.parse("warehouse", postgres_server.airflow_connection(name))
        sessions = Sessions(of_connection(parts), None)
        with sessions.kept():
            yield Copies(sessions, tmp_path_factory.mktemp("values"))


@given(bodies())
@settings(max_examples=200, deadline=None)
@example((("t", "i"), b"t,i\na,1\n\\.\nb,2\n"))
@example((("t",), b"t\na\n\\.\nb\n"))
@example((("t", "i"), b't,i\na"b"c,1\n'))
@example((("t", "i"), b't,i\n"a"b"c",1\n'))
@example((("t",), b"t\na\n\nb\n"))
@example((("n",), b"n\n1.005\n"))
@example((("f",), b"f\n-nan\n"))
@example((("d",), b"d\nyesterday\n"))
@example((("t", "i"), b't,i\n,""\n"",\n'))
def test_both_ways_leave_the_same(copies: Copies, drawn: tuple[tuple[str, ...], bytes]) -> None:
    """What COPY is let read is what reading and staging gives; everything else is left to that."""
    names, data = drawn
    found = copies.direct(names, data)
    event("straight" if found is not None else "read row by row")
    if found is not None:
        assert found == copies.staged(names, data)


@pytest.mark.parametrize(
    "data",
    [
        b't,i,s\na,1,2020-01-01 12:30:00\n"b ""c"", d\n",-2,\n,"",2020-01-01T12:30:00.5\n',
        b"t,i,s\r\nx,1,\r\ny,2,\r\n",
        b"\xef\xbb\xbft,i,s\nx,1,",
        b"t,i,s\n",
    ],
    ids=["quotes and NULLs", "CRLF", "BOM and no end of line", "no rows"],
)
def test_usual_files_go_straight(copies: Copies, data: bytes) -> None:
    """Nothing unusual is refused."""
    names = ("t", "i", "s")
    found = copies.direct(names, data)
    assert found is not None
    assert found == copies.staged(names, data)


def test_a_server_that_reads_fewer_rows_is_not_believed(copies: Copies) -> None:
    r"""PostgreSQL before 18 takes a line with ``\\.`` for the end of the file."""

    class Cut(WatchedCsv):
        def pieces(self) -> Iterator[bytes]:
            for piece in super().pieces():
                yield piece.partition(b"\\.")[0]

    load = _load(("t",), lambda columns: Cut("x.csv", io.BytesIO(b"t\na\n\\.\nb\n"), columns))
    with copies.sessions.session("testing") as session:
        session.execute('CREATE SCHEMA IF NOT EXISTS "_elt"')
        session.execute(PostgresDialect().create_staging(load, "t"))
        with pytest.raises(NotInPlaceError, match="the server reads 1 rows, we 3"):
            direct_copy.copy(session, PostgresDialect(), load, "t")
        session.rollback()


def test_blocks_are_looked_at_as_one(copies: Copies) -> None:
    """A quoted field may lie across the end of a block, wherever that is."""
    rows = "".join(f'{at},"a ""{at}"", b\nc{"x" * (at % 50)}",{at % 100}\n' for at in range(90_000))
    data = ("b,t,i\n" + rows).encode()
    assert len(data) > 2 * (2 << 20)
    found = copies.direct(("b", "t", "i"), data)
    assert found is not None
    assert found == copies.staged(("b", "t", "i"), data)
