"""Random tables written in random dialects: what is guessed reads back the same values, all of them."""

from __future__ import annotations

import datetime as dt
import json
import random
import tempfile
import uuid
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.core.types import parse_type, wire_type
from airflow_elt_provider.formats.guess import guess
from airflow_elt_provider.formats.guess_check import check
from airflow_elt_provider.formats.guess_sample import Sample
from airflow_elt_provider.formats.table_file import table_file

DAY = dt.date(2000, 1, 1)
WORDS = [
    "cat", "Hello world", "naïve", "猫と犬", "O'Neil", "a-b", "x;y", "p|q", "1, 2", 'say "hi"', "two\nlines",
    "tab\there", "#1", "NA", "null", "Y", "00123", "090-1234-5678", "1e5", "1.10", "20240101",
]  # fmt: skip
NAMES = ["id", "order_no", "name", "city", "amount", "created_at", "day", "flag", "note", "code", "名前", "住所"]


def _when(draw: random.Random) -> dt.datetime:
    return dt.datetime(2020, 1, 1) + dt.timedelta(microseconds=draw.randrange(10**14))


def _number(draw: random.Random) -> int:
    return draw.choice([draw.randrange(-99, 99), draw.randrange(-(1 << 63), 1 << 63)])


VALUES = {
    "bigint": (_number, str),
    "big": (lambda draw: Decimal(draw.randrange(10**19, 10**25)), str),
    "decimal": (lambda draw: Decimal(draw.randrange(-(10**9), 10**9)).scaleb(-3), "{:.3f}".format),
    "double": (lambda draw: draw.uniform(1e-9, 1e-6), repr),
    "boolean": (lambda draw: draw.random() < 0.5, lambda flag: str(flag).lower()),
    "date": (lambda draw: _when(draw).date(), str),
    "slashed": (lambda draw: _when(draw).date(), "{:%Y/%m/%d}".format),
    "timestamp": (_when, str),
    "timestamptz": (lambda draw: _when(draw).replace(tzinfo=dt.UTC), lambda at: at.isoformat()),
    "time": (lambda draw: _when(draw).time(), str),
    "uuid": (lambda draw: str(uuid.UUID(int=draw.getrandbits(128))), str),
    "json": (lambda draw: {"a": [draw.randrange(9), 'x, "y"'], "b": None}, json.dumps),
    "text": (lambda draw: draw.choice(WORDS), str),
}


def value(kind: str, draw: random.Random):
    """Return a value of a kind, and how it is written."""
    make, write = VALUES[kind]
    made = make(draw)
    return made, write(made)


def quoted(text: str, quote: str, escape: str) -> str:
    """Write a field in quotes."""
    if escape:
        return quote + text.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote
    return quote + text.replace(quote, quote * 2) + quote


def written(cells, form, draw: random.Random) -> str:
    """Write a row in a dialect; None is nothing, or the marker."""
    told = []
    for text in cells:
        if text is None:
            told.append("")
            continue
        risky = any(sign in text for sign in (form["delimiter"], '"', "'", "\n", "\r", "#", "\\")) or not text
        wanted = risky or form["all"] or draw.random() < 0.05
        told.append(quoted(text, form["quote"], form["escape"]) if wanted else text)
    return form["delimiter"].join(told) + form["end"]


KINDS = ["bigint", "big", "decimal", "double", "boolean", "date", "slashed", "timestamp", "timestamptz", "time", "uuid",
         "json", "text", "text"]  # fmt: skip


def tables(seed: int, kinds: list[str], form: dict):
    draw = random.Random(seed)
    kinds = ["bigint", *kinds]
    names = draw.sample(NAMES, len(kinds))
    rows = [
        [(None, None) if at and draw.random() < form["nulls"] else value(kind, draw) for at, kind in enumerate(kinds)]
        for _ in range(draw.randrange(12, 60))
    ]
    lines = [
        written(names, {**form, "all": False}, draw),
        *(written([text for _, text in row], form, draw) for row in rows),
    ]
    return names, kinds, rows, "".join(lines)


TYPES = {"big": "decimal(25,0)", "decimal": "decimal(18,3)", "slashed": "date"}


def same(expected, text: str | None, found) -> bool:
    """Whether a value is the one that was written; as text it has to be what stands in the file."""
    return found == (text if isinstance(found, str) else expected)


FORMS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", "\t", ";", "|"]),
        "quote": st.sampled_from(['"', '"', '"', "'"]),
        "escape": st.sampled_from(["", "", "\\"]),
        "end": st.sampled_from(["\n", "\r\n"]),
        "all": st.booleans(),
        "nulls": st.sampled_from([0.0, 0.2]),
    }
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 32),
    kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=7),
    form=FORMS,
    charset=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_is_guessed_reads_back_the_same(seed, kinds, form, charset):
    names, kinds, rows, text = tables(seed, kinds, form)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_bytes(text.encode(charset))
        found = guess(Sample.of_bytes(path.read_bytes()), "x.csv")
        assert [one.name for one in found.columns] == names, text[:500]
        assert [one.type for one in found.columns if one.type[:7] != "decimal"] == [
            TYPES.get(kind, kind) for kind in kinds if TYPES.get(kind, kind)[:7] != "decimal"
        ]
        columns = [(one.name, parse_type(one.type)) for one in found.columns]
        schema = pa.schema([pa.field(name, wire_type(kind)) for name, kind in columns])
        read = pa.Table.from_batches(table_file(path, "x.csv", found.form).batches(columns, schema), schema)
        assert read.num_rows == len(rows), text[:500]
        for at, column in enumerate(columns):
            for row, value_ in zip(rows, read.column(at).to_pylist(), strict=True):
                assert same(*row[at], value_), (column, row[at], value_, found.form, text[:500])
        assert not check(path, found).misfits
