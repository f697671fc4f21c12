"""Random tables in random dialects, and random damage: equal rows, or somebody says which ones are not."""

from __future__ import annotations

import bz2
import csv as python_csv
import gzip
import io
import json
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.errors import DataError, EltError
from airflow_elt_provider.formats import csv
from airflow_elt_provider.formats.csv_quick import quick_types, quick_values
from airflow_elt_provider.formats.fields import text_fields

pytestmark = [pytest.mark.heavy, pytest.mark.lowest]
checked = settings(
    max_examples=80, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
PACK = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress,
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}  # fmt: skip
JAPANESE = st.text(st.sampled_from("ab 0,;\t|'\"\\#\r\nx-猫表ソ能書"), max_size=6)
DIALECT = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t|\x01"), "quote": st.sampled_from("\"'"),
        "escape": st.sampled_from(["", "\\"]),
        "end": st.sampled_from(["\n", "\r\n", "\r"]), "header": st.booleans(), "last": st.booleans(),
        "all": st.booleans(), "odd": st.sampled_from(["", "trim", "comment"]), "skip": st.integers(0, 2),
        "charset": st.sampled_from(["utf-8", "utf-8-sig", "cp932", "euc_jp", "utf-16", "utf-32-be"]),
        "packed": st.sampled_from([*PACK]),
    }
)  # fmt: skip


def written(names, rows, dialect):
    """Return a table as Python's own writer has it, and the format that says so."""
    text = io.StringIO(newline="")
    every = dialect["all"] or dialect["odd"] or any("\r" in value for row in rows for value in map(str, row))
    writer = python_csv.writer(
        text, delimiter=dialect["delimiter"], quotechar=dialect["quote"], lineterminator=dialect["end"],
        doublequote=not dialect["escape"], escapechar=dialect["escape"] or None,
        quoting=python_csv.QUOTE_ALL if every else python_csv.QUOTE_MINIMAL,  # a lone CR it does not quote by itself
    )  # fmt: skip
    text.write(f"'\"skipped{dialect['end']}" * dialect["skip"])
    if dialect["header"]:
        writer.writerow(names)
    writer.writerows(rows)
    whole = text.getvalue()
    whole = whole if dialect["last"] or not rows else whole.removesuffix(dialect["end"])
    form = {
        "type": "csv", "delimiter": dialect["delimiter"], "quote": dialect["quote"], "escape": dialect["escape"],
        "header": dialect["header"], "columns": () if dialect["header"] else names, "skip_lines": dialect["skip"],
        "charset": dialect["charset"], "null_values": [], "trim": dialect["odd"] == "trim",
        "comment": "#" if dialect["odd"] == "comment" else "",
    }  # fmt: skip
    return whole, form


@given(
    rows=st.lists(st.tuples(JAPANESE, JAPANESE, JAPANESE), max_size=30),
    dialect=DIALECT,
    block=st.sampled_from([128, 1 << 21]),
)
@checked
def test_what_python_writes_is_read_back(read, rows, dialect, block):
    names = ["a", "書", "c"]
    text, form = written(names, rows, dialect)
    data = PACK[dialect["packed"]](text.encode(dialect["charset"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv, "BLOCK_BYTES", block)
        assert read(data, f"a.csv{dialect['packed']}", **form) == rows
        assert read(data, f"a.csv{dialect['packed']}", limit=1, **form) == rows


@given(
    rows=st.lists(st.tuples(st.integers(-9, 99), JAPANESE), min_size=1, max_size=20), data=st.data(),
    odd=st.sampled_from(["", "trim", "comment"]), charset=st.sampled_from(["utf-8", "cp932"]),
)  # fmt: skip
@checked
def test_damage_is_told_or_counted(read, rows, data, odd, charset):
    """Whatever happens to a few bytes, rows are those of Python's reader, or set aside, or the file is refused."""
    dialect = {"delimiter": ",", "quote": '"', "escape": "", "end": "\n", "header": True, "last": True, "all": False,
               "odd": odd, "skip": 0, "charset": charset}  # fmt: skip
    text, form = written(["id", "text"], rows, dialect)
    damaged = bytearray(text.encode(charset))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.sampled_from(b'",\n\r\0\xff\x81a1 #\\'))
    found = None
    with suppress(DataError):
        found = read(bytes(damaged), types={"id": "bigint"}, limit=100, **form)
    if found is None or odd:
        return
    lines = io.StringIO(bytes(damaged).decode(charset, "replace"), newline="")
    expected = sum(bool(row) for row in python_csv.reader(lines)) - 1
    assert len(found) + len(read.refused()) == expected


@given(packed=st.sampled_from([".gz", ".bz2", ".zst"]), data=st.data())
@checked
def test_what_is_cut_off_is_never_a_shorter_table(read, packed, data):
    whole = PACK[packed](b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n % 97) for n in range(500)))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DataError, match="cannot be read"):
        read(whole + whole[:cut] if cut and data.draw(st.booleans()) else whole[:cut], f"a.csv{packed}")


LITERALS = st.one_of(
    st.integers(-(2**65), 2**65).map(str), st.integers(0, 2**64).map(hex), st.floats().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str), st.dates().map(str), st.datetimes().map(str),
    st.datetimes().map(lambda moment: f"{moment.isoformat()}+09:00"), st.text("0123456789.-+:eETZ xX", max_size=12),
    st.sampled_from(["", "123", "1234.5", "99999", "1e3", "-0", "+1", " 7 ", "NaN", "-inf", "1e400", "0x8000",
                     "2026-02-29"]),
)  # fmt: skip
KINDS = [
    "smallint",
    "int",
    "bigint",
    "real",
    "double",
    "decimal(4,2)",
    "decimal(38,10)",
    "date",
    "timestamp",
    "timestamptz",
]


@given(text=LITERALS, kind=st.sampled_from(KINDS))
@settings(checked, max_examples=800)
@example(text="123", kind="decimal(4,2)")
@example(text="0xFFFF", kind="smallint")
def test_both_ways_read_the_same_values(text, kind):
    """The fast way gives what the careful one gives, or nothing."""
    import pyarrow.csv as pacsv

    fields = text_fields([("a", parse_type(kind))], {}, "UTF-8")
    body = f'a\n"{text}"\n'.encode()
    options = pacsv.ConvertOptions(column_types=quick_types(fields, {}), null_values=[""], strings_can_be_null=True)
    with suppress(pa.ArrowInvalid):
        [quick] = quick_values(pacsv.read_csv(io.BytesIO(body), convert_options=options).to_batches()[0], fields)
        careful = fields[0].read(pa.array([text.encode()]))
        assert quick.equals(careful) or str(quick) == str(careful), (quick, careful)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8,
)  # fmt: skip


@given(
    rows=st.lists(st.dictionaries(st.sampled_from("abc"), VALUE, min_size=1), min_size=1, max_size=10),
    ascii_=st.booleans(),
)
@checked
def test_json_that_python_writes_is_read_back(read, rows, ascii_):
    lines = [json.dumps(row, ensure_ascii=ascii_) for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        data = "\n".join(lines).encode()
        list(map(str.encode, [text for row in rows for text in _texts(row)]))
    except UnicodeEncodeError:
        assume(False)
    found = read(data, "a.jsonl", types=dict.fromkeys(names, "json"))
    told = [
        {name: json.loads(text) for name, text in zip(names, row, strict=True) if text is not None} for row in found
    ]
    assert told == [{name: value for name, value in row.items() if value is not None} for row in rows]
    for row, as_text in zip(rows, read(data, "a.jsonl"), strict=True):
        for name, text in zip(names, as_text, strict=True):
            value = row.get(name)
            assert text == (
                value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=ascii_)
            )


def _texts(value):
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


@given(data=st.data())
@checked
def test_damaged_json_is_told_or_counted(read, data):
    whole = bytearray("".join(f'{{"id":{n},"text":"猫 {n}"}}\n' for n in range(12)).encode())
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[at] = data.draw(st.sampled_from(b'"{}[],:\n\r\0\xff\x81a1 \\'))
    with suppress(EltError):
        found = read(bytes(whole), "a.jsonl", limit=100, type="jsonl", columns=["id", "text"])
        assert len(found) + len(read.refused()) == sum(bool(line.strip()) for line in bytes(whole).split(b"\n"))


@given(data=st.data())
@checked
def test_damaged_parquet_is_refused_or_the_same(read, data):
    import pyarrow.parquet as pq

    path = read.folder / "a.parquet"
    table = pa.table({
        "id": range(200), "text": [f"猫{n}" for n in range(200)], "day": [date(2026, 1, 1)] * 200,
        "at": [datetime(2026, 1, 1, 1)] * 200, "amount": [Decimal("1.10")] * 200, "list": [[n] for n in range(200)],
    })  # fmt: skip
    pq.write_table(table, path, write_page_checksum=True, row_group_size=50)
    whole = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(4, len(whole) - 9), min_size=1, max_size=3)):
        whole[at] ^= data.draw(st.integers(1, 255))
    with suppress(EltError):
        found = read(bytes(whole), "a.parquet", limit=1000)
        assert len(found) + len(read.refused()) == 200
