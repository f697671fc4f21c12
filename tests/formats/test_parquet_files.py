"""Parquet files that others wrote: their values unchanged, or refused with their row."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.types import JSON, UUID
from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats import parquet_table
from airflow_elt_provider.formats.table_file import table_file

pytestmark = pytest.mark.lowest


@pytest.fixture
def parquet(read):
    """Write a table of columns and read it."""

    def run(columns, write=None, **options):
        pq.write_table(pa.table(columns), read.folder / "a.parquet", **(write or {}))
        return read(None, "a.parquet", **options)

    return run


STRUCT = pa.struct([("d", pa.decimal128(38, 3)), ("t", pa.timestamp("ns")), ("b", pa.binary())])
VALUES = [
    (pa.int8(), [-128], pa.int16(), [-128]),
    (pa.uint8(), [255], pa.int16(), [255]),
    (pa.uint16(), [65535], pa.int32(), [65535]),
    (pa.uint32(), [2**32 - 1], pa.int64(), [2**32 - 1]),
    (pa.uint64(), [2**64 - 1], pa.decimal128(20, 0), [Decimal(2**64 - 1)]),
    (pa.int64(), [-(2**63)], pa.int64(), [-(2**63)]),
    (pa.float32(), [0.5], pa.float32(), [0.5]),
    (pa.float64(), [0.1], pa.float64(), [0.1]),
    (pa.bool_(), [True], pa.bool_(), [True]),
    (pa.large_string(), ["猫"], pa.string(), ["猫"]),
    (pa.large_binary(), [b"\xff"], pa.binary(), [b"\xff"]),
    (pa.binary(3), [b"\xff\0a"], pa.binary(), [b"\xff\0a"]),
    (pa.date32(), [date(1, 1, 1)], pa.date32(), [date(1, 1, 1)]),
    (pa.date64(), [date(2026, 2, 28)], pa.date32(), [date(2026, 2, 28)]),
    (pa.time32("s"), [time(23, 59)], pa.time64("us"), [time(23, 59)]),
    (pa.time64("ns"), [time(1, 2, 3, 4)], pa.time64("us"), [time(1, 2, 3, 4)]),
    (pa.timestamp("ms"), [datetime(9999, 1, 1)], pa.timestamp("us"), [datetime(9999, 1, 1)]),
    (pa.timestamp("ns"), [datetime(1900, 1, 1, 1, 1, 1, 7)], pa.timestamp("us"), [datetime(1900, 1, 1, 1, 1, 1, 7)]),
    (pa.timestamp("us", "Asia/Tokyo"), [datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"),
     [datetime(2026, 1, 1, tzinfo=UTC)]),
    (pa.decimal128(38, 38), [Decimal("0." + "1" * 38)], pa.decimal128(38, 38), [Decimal("0." + "1" * 38)]),
    (pa.decimal256(38, 2), [Decimal("1.10")], pa.decimal128(38, 2), [Decimal("1.10")]),
    (pa.decimal256(76, 2), [Decimal("9" * 74 + ".10")], pa.string(), ["9" * 74 + ".10"]),
    (pa.dictionary(pa.int8(), pa.string()), ["x"], pa.string(), ["x"]),
    (pa.list_(pa.float64()), [[0.1, None, 1e300]], JSON, ["[0.1, null, 1e+300]"]),
    (pa.list_(pa.list_(pa.int64())), [[[2**63 - 1], []]], JSON, ["[[9223372036854775807], []]"]),
    (pa.map_(pa.string(), pa.date32()), [[("a", date(2026, 1, 1))]], JSON, ['{"a": "2026-01-01"}']),
    (pa.map_(pa.int64(), pa.bool_()), [[(1, True)]], JSON, ["[[1, true]]"]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1), ("a", 2)]], JSON, ['[["a", 1], ["a", 2]]']),
    (STRUCT, [{"d": Decimal("12345678901234567890.123"), "t": None, "b": b"\xff"}], JSON,
     ['{"d": 12345678901234567890.123, "t": null, "b": "/w=="}']),
    (JSON, ['{"a":1.0}'], JSON, ['{"a":1.0}']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "own", "values"), VALUES, ids=str)
def test_types_and_values(parquet, read, kind, given, own, values):
    storage = kind.storage_type if kind == JSON else kind
    array = pa.array([*given, None], storage)
    rows = parquet({"a": pa.ExtensionArray.from_storage(kind, array) if kind == JSON else array})
    file = table_file(read.folder / "a.parquet", "a.parquet", FileFormat())
    assert file.types() == {"a": own}
    assert rows == [(value,) for value in [*values, None]]


def test_uuid(parquet, read):
    value = uuid.uuid4()
    assert parquet({"a": pa.ExtensionArray.from_storage(UUID, pa.array([value.bytes, None], pa.binary(16)))}) == [
        (str(value),), (None,),
    ]  # fmt: skip


BAD = [
    (pa.array([2000, 1001], pa.timestamp("ns")), "1970-01-01 00:00:00.000001001", "timestamp[us]"),
    (pa.array([2000, 1001], pa.time64("ns")), "00:00:00.000001001", "time64[us]"),
    (pa.array([b"x", b"\xff"]).view(pa.string()), "\\xff", "string"),
    (pa.array([[1.0], [float("nan")]]), "[nan]", "json"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "text", "kind"), BAD, ids=str)
def test_what_none_of_our_types_holds(parquet, read, array, text, kind):
    columns = {"k": [1, 2], "a": array}
    with pytest.raises(DataError) as caught:
        parquet(columns)
    assert caught.value.message.startswith(f"file:///a.parquet, row 2: column 'a' has {text!r}"[:60])
    assert caught.value.message.endswith(f"which is no {kind}.")
    with pytest.raises(DataError, match=r"row 2: column 'a' has a value, which is no"):
        parquet(columns, hidden=["a"])
    assert [row[0] for row in parquet(columns, limit=1, key=["k"])] == [1]
    [(place, column, reason, values)] = read.refused()
    assert (place, column, reason) == ("row 2", "a", f"is no {kind}")
    assert values["k"] == "2"
    assert [batch.to_pylist() for batch in read.quarantine.take_keys()] == [[{"k": 2}]]


OLD = [datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(1, 1, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999999)]


def test_timestamps_of_old(parquet):
    """Arrow before 20 or so moves what is before 1970."""
    write = {"use_deprecated_int96_timestamps": True}
    columns = {"a": pa.array([*OLD, None], pa.timestamp("us")), "b": [1, 2, 3, 4]}
    if not parquet_table._reads_old_timestamps():
        with pytest.raises(ConfigurationError, match="does not read right"):
            parquet(columns, write)
        assert parquet(columns, write, wanted=["b"]) == [(1,), (2,), (3,), (4,)]
        return
    assert parquet(columns, write) == [*zip(OLD, (1, 2, 3), strict=True), (None, 4)]
    with pytest.raises(DataError, match=r"row 2: column 'a' has '1970-01-01 00:00:00\.000001001'"):
        parquet({"a": pa.array([1000, 1001], pa.timestamp("ns"))}, write)
    with pytest.raises(ConfigurationError, match="is not read"):
        parquet({"a": pa.array([[1000]], pa.list_(pa.timestamp("ns")))}, write)


CASTS = [
    (pa.array([1]), "text", "1"), (pa.array([1]), "smallint", 1), (pa.array(["007"]), "int", 7),
    (pa.array([0.1]), "decimal(9,2)", Decimal("0.10")), (pa.array([Decimal("1.50")]), "text", "1.50"),
    (pa.array([0.1], pa.float32()), "text", "0.1"), (pa.array([1e22]), "text", "1e+22"),
    (pa.array([1.0]), "text", "1.0"),
    (pa.array([date(2026, 1, 1)]), "timestamp", datetime(2026, 1, 1)), (pa.array([True]), "text", "true"),
    (pa.array([date(2026, 1, 1)]), "text", "2026-01-01"), (pa.array([[1]]), "text", "[1]"),
    (pa.array(['{"a":1}']), "json", '{"a":1}'), (pa.array([b"x"]), "text", "x"),
    (pa.array([datetime(2026, 1, 1)], pa.timestamp("us", "UTC")), "text", "2026-01-01 00:00:00.000000Z"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "kind", "value"), CASTS, ids=str)
def test_other_types_by_column_types(parquet, array, kind, value):
    assert parquet({"a": array}, types={"a": kind}) == [(value,)]


LOSSY = [
    (pa.array([40_000]), "smallint"), (pa.array([1.5]), "bigint"), (pa.array([0.125]), "decimal(9,2)"),
    (pa.array(["x"]), "int"),
    (pa.array([datetime(2026, 1, 1, 1)]), "date"), (pa.array([b"\xff"]), "text"), (pa.array(["{"]), "json"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "kind"), LOSSY, ids=str)
def test_a_cast_that_would_lose_something(parquet, array, kind):
    with pytest.raises(DataError, match="row 1: column 'a' has "):
        parquet({"a": array}, types={"a": kind})


def test_rows_are_counted_over_row_groups_and_batches(parquet, read, monkeypatch):
    monkeypatch.setattr(parquet_table, "_MOST_ROWS", 7)
    numbers = [str(n) if n not in {50, 93} else "x" for n in range(100)]
    columns = {"a": numbers, "b": pa.array(range(100), pa.int32())}
    found = parquet(columns, {"row_group_size": 30}, types={"a": "int"}, limit=2)
    assert found == [(n, n) for n in range(100) if n not in {50, 93}]
    assert [refused[0] for refused in read.refused()] == ["row 51", "row 94"]


def test_a_null_key_is_set_aside(parquet, read):
    assert parquet({"a": [1, None, 3]}, key=["a"], limit=1) == [(1,), (3,)]
    assert read.refused() == [("row 2", "a", "of the key is NULL", {"a": None})]


def test_some_columns_in_another_order_and_names_with_dots(parquet):
    columns = {"a": [1], "a.b": ["x"], "c": [{"a": 1}]}
    assert parquet(columns, wanted=["c", "a"]) == [('{"a": 1}', 1)]
    assert parquet(columns, wanted=["a.b"]) == [("x",)]


def test_files_that_are_broken(read):
    pq.write_table(pa.table({"a": list(range(10_000))}), read.folder / "a.parquet", write_page_checksum=True)
    data = (read.folder / "a.parquet").read_bytes()
    for broken, what in (
        (b"", "is no Parquet file"), (b"a,b\n1,2\n", "is no Parquet file"), (data[:-9], "without its end"),
        (data[:1000], "without its end"), (data[:1000] + bytes(200) + data[1200:], "cannot be read"),
        (data[:-60] + bytes(50) + data[-10:], "cannot be read"), (b"PARE" + data[4:-4] + b"PARE", "is encrypted"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=what):
            read(broken, "a.parquet")
        with pytest.raises(DataError, match=what):
            read(broken, "a.parquet", limit=10)
    with pytest.raises(ConfigurationError, match="in gzip"):
        read(data, "a.parquet.gz")


def test_columns_with_one_name(read):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, read.folder / "a.parquet")
    with pytest.raises(DataError, match="names 'a' twice"):
        read(None, "a.parquet")


def test_a_type_that_we_do_not_have(parquet):
    columns = {"a": pa.array([1], pa.duration("s")), "b": [1]}
    with pytest.raises(ConfigurationError, match=r"column 'a' is a duration\[s\], which is not read"):
        parquet(columns)
    assert parquet(columns, wanted=["b"]) == [(1,)]


def test_an_empty_file(parquet):
    assert parquet({"a": pa.array([], pa.int64())}) == []
