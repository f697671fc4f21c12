"""What is read from a CSV file, and what is refused with its line."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest

from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats import csv
from airflow_elt_provider.formats.csv import CsvFile
from airflow_elt_provider.formats.text_values import first_bad, typed

pytestmark = pytest.mark.lowest


@pytest.fixture
def read(tmp_path):
    """Read columns of a text; without types all of them, as text."""

    def run(data, name="orders.csv", **types):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        file = CsvFile(path, f"file:///{name}")
        columns = [(name, parse_type(kind)) for name, kind in types.items()] or [
            (name, pa.string()) for name in file.header()
        ]
        schema = TableSchema(tuple(Column(*column) for column in columns)).wire_schema()
        batches = list(file.batches(columns, schema))
        assert all(batch.schema == schema for batch in batches)
        return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]

    return run


def test_text_is_text(read):
    text = 'id,name\n007,"a ""quoted"", one"\nNA,  two \n1,"line\n線\r\nend"\n'
    assert read(text) == [("007", 'a "quoted", one'), ("NA", "  two "), ("1", "line\n線\r\nend")]


def test_an_empty_field_is_null_and_a_quoted_one_is_not(read):
    assert read('a,b\n,""\n"",\n') == [(None, ""), ("", None)]


def test_for_other_types_both_are_null(read):
    assert read('a,b\n,""\n"",\n1,2026-01-02\n', a="bigint", b="date") == [
        (None, None),
        (None, None),
        (1, date(2026, 1, 2)),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark(read, end):
    assert read("\ufeff" + end.join(["書名,x", "猫,1", "坊ちゃん,2"])) == [("猫", "1"), ("坊ちゃん", "2")]


def test_compressed(read):
    data = gzip.compress("書名\n猫\n".encode()) + gzip.compress("坊ちゃん\n".encode())
    assert read(data, "orders.csv.gz") == [("猫",), ("坊ちゃん",)]


def test_columns_are_found_by_their_names(read):
    assert read("a,b,c\n1,2,3\n", c="text", a="int") == [("3", 1)]


def test_empty_lines_are_nothing_but_in_a_file_of_one_column(read):
    assert read("a,b\n\n1,2\n\n\n") == [("1", "2")]
    assert read("a\n1\n\n3\n") == [("1",), (None,), ("3",)]


def test_a_header_alone_has_no_rows(read):
    assert read("a,b\n") == []
    assert read("a,b") == []


VALUES = {
    "smallint": [("-7", -7), (" 7 ", 7)],
    "bigint": [("9223372036854775807", 9223372036854775807), ("007", 7)],
    "double": [("1e3", 1000.0), ("-inf", float("-inf")), ("Infinity", float("inf"))],
    "decimal(12,4)": [("1.5", Decimal("1.5000")), ("1e3", Decimal("1000.0000"))],
    "boolean": [("t", True), ("FALSE", False), ("0", False)],
    "date": [("2026-02-28", date(2026, 2, 28))],
    "time": [("12:34:56.789", time(12, 34, 56, 789000))],
    "timestamp": [("2026-02-28 12:34:56.123456", datetime(2026, 2, 28, 12, 34, 56, 123456))],
    "timestamptz": [("2026-02-28T09:00:00+09:00", datetime(2026, 2, 28, tzinfo=UTC))],
    "json": [("{}", "{}"), ("null", "null")],
    "uuid": [("6B29FC40-CA47-1067-B31D-00DD010662DA", "6B29FC40-CA47-1067-B31D-00DD010662DA")],
}


@pytest.mark.parametrize("kind", VALUES)
def test_values(read, kind):
    texts, values = zip(*VALUES[kind], strict=True)
    assert read("v\n" + "".join(f'"{text}"\n' for text in texts) + '""\n', v=kind) == [
        *((value,) for value in values),
        (None,),
    ]


BAD = [
    ("smallint", "40000"), ("bigint", "1.0"), ("bigint", "一"), ("bigint", "9223372036854775808"), ("bigint", "   "),
    ("double", "1,5"), ("double", "1e400"), ("decimal(4,2)", "123.4"), ("decimal(4,2)", "1.234"), ("boolean", "maybe"),
    ("date", "2026-02-29"), ("date", "28.02.2026"), ("time", "24:00:00"), ("timestamp", "2026-01-01T00:00:00Z"),
    ("timestamptz", "2026-01-01T00:00:00"), ("timestamp", "2026-01-01 00:00:00.1234567"), ("json", "{"),
    ("json", "NaN"), ("uuid", "6B29FC40"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_a_value_that_is_none_is_refused_with_line_column_and_value(read, kind, value):
    good = VALUES[next(name for name in VALUES if name.split("(")[0] == kind.split("(")[0])][0][0]
    with pytest.raises(DataError) as caught:
        read(f'n,v\n"a\nb",{good}\n\n1,{good}\n2,"{value}"\n3,"{value}"\n', v=kind)
    assert caught.value.message.startswith(f"file:///orders.csv, line 6: column 'v' has '{value}', which is no ")
    assert "column_types={'v': 'text'}" in caught.value.hint


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz"])
def test_the_line_is_right_far_down_in_the_file(read, monkeypatch, name):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 1 << 12)
    rows = "".join(f'{n},"two\nlines"\n' for n in range(5000))
    data = f"id,text\n{rows}x,1\n".encode()
    with pytest.raises(DataError, match="line 10002: column 'id' has 'x'"):
        read(gzip.compress(data) if name.endswith(".gz") else data, name, id="bigint")


@pytest.mark.parametrize("row", ["3", "3,4,5"])
def test_a_row_with_other_fields_is_refused_with_its_line(read, row):
    with pytest.raises(DataError, match=rf"orders.csv, line 5: {len(row.split(','))} fields instead of 2: '{row}'"):
        read(f'a,b\n"x\ny",2\n\n{row}\n5,6\n', b="text")


def test_what_is_not_utf_8_is_refused_with_its_line(read):
    with pytest.raises(DataError, match="line 3: column 'b' is not UTF-8"):
        read("a,b\n1,x\n2,猫\n".encode("cp932"))
    with pytest.raises(DataError, match="is not UTF-8"):
        read("書名\n猫\n".encode("cp932"))
    with pytest.raises(DataError, match="binary, or text in UTF-16"):
        read("a,b\n1,2\n".encode("utf-16-le"))


def test_a_quote_that_is_never_closed_is_refused(read, monkeypatch):
    with pytest.raises(DataError, match="quotes do not match, at or after line 3"):
        read('a,b\n1,2\n3,"cut o')
    with pytest.raises(DataError, match="quotes do not match"):
        read('a,b\n1,2\n3,"cut o\n')
    with pytest.raises(DataError, match="quotes do not match, at or after line 3"):
        read('a,b,c\n1,2,3\n4,"cut o,5\n')
    monkeypatch.setattr(csv, "BLOCK_BYTES", 1 << 12)
    with pytest.raises(DataError, match="never closed"):
        read('a,b\n1,"2\n' + "3,4\n" * 10_000)


def test_an_odd_quote_inside_of_a_field_is_just_that(read):
    assert read('a,b\n5" pipe,1\n') == [('5" pipe', "1")]


HEADERS = [
    ("", "is empty"), ("\n\n", "is empty"), ("a,,b\n1,2,3\n", "has no name"), ("a,b,a\n1,2,3\n", "names 'a' twice"),
    ("a;b\n1;2\n", "one column, 'a;b'"), ("a\tb\n1\t2\n", "one column"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what"), HEADERS)
def test_a_header_row_that_cannot_be_meant_is_refused(read, text, what):
    with pytest.raises(DataError, match=what):
        read(text)


def test_what_was_not_written_to_its_end_is_refused(read):
    data = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    for cut in (len(data) - 10, 12):
        with pytest.raises(DataError, match="cannot be read"):
            read(data[:cut], "orders.csv.gz")
    with pytest.raises(DataError, match="cannot be read"):
        read(b"a,b\n1,2\n", "orders.csv.gz")
    with pytest.raises(DataError, match="cannot be read"):
        read(data[:10] + bytes(100) + data[10:], "orders.csv.gz")


@pytest.mark.parametrize("kind", VALUES)
def test_a_slice_of_texts_has_the_same_values(kind):
    """Arrow 19 garbles slices that some of its functions are given."""
    texts = pa.array(["no value", None, "", *(text for text, _ in VALUES[kind]), ""])
    values = typed(texts.slice(1), parse_type(kind))
    assert values.to_pylist() == [None, None, *(value for _, value in VALUES[kind]), None]
    assert first_bad(pa.concat_arrays([texts.slice(1), texts]), parse_type(kind)) == len(texts) - 1


@pytest.mark.parametrize(("text", "kind"), [("0xFFFF", "smallint"), (" 0xFFFFFFFF", "int"), ("0x8000", "smallint")])
def test_hexadecimal_numbers_do_not_turn_negative(read, text, kind):
    assert read("a\n0x1F\n-7\n\n0x7FFF\n", a=kind) == [(31,), (-7,), (None,), (0x7FFF,)]
    with pytest.raises(DataError, match=rf"line 3: column 'a' has '{text}', which is no int"):
        read(f"a\n-1\n{text}\n", a=kind)


def test_json_that_is_too_deep_is_refused(read):
    with pytest.raises(DataError, match=r"line 3: column 'a' has '\[\[.*which is no json"):
        read(f"a\n[]\n{'[' * 100_000}\n", a="json")


def test_a_header_after_empty_lines(read):
    assert read("\n\na,b\n1,2\n") == [("1", "2")]
    with pytest.raises(DataError, match="its header row 'a' comes after an empty line"):
        read("\na\n1\n")


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz"])
def test_a_header_whose_quotes_are_not_closed_does_not_fill_the_memory(read, name):
    text = b'"id,name\n' + b"1,a\n" * (csv.BLOCK_BYTES // 2)
    with pytest.raises(DataError, match="a row is longer than 2 MiB, or a quote is never closed") as raised:
        read(gzip.compress(text, 1) if name.endswith(".gz") else text, name)
    assert len(str(raised.value)) < 300
