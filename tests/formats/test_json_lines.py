"""JSON lines: every value as it is written, or its line set aside."""

from __future__ import annotations

import gzip
from datetime import date
from decimal import Decimal

import pytest

from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats import jsonl

pytestmark = pytest.mark.lowest


def test_values_are_the_text_that_stands_there(read):
    values = [
        "12345678901234567890.123",
        "1.50",
        "-0",
        "1E400",
        "true",
        "false",
        '{"b": [1.10,  null]}',
        "[]",
        "9" * 5000,
    ]
    text = "".join(f'{{"a": {value} }}\n' for value in values)
    assert read(text, "a.jsonl") == [(value,) for value in values]


def test_strings_mean_their_characters(read):
    assert read('{"a":"x\\n\\u732b \\ud83d\\ude00\\"","b":""}\r\n {"b":"b" , "a":"a"} ', "a.jsonl") == [
        ('x\n猫 😀"', ""), ("a", "b"),
    ]  # fmt: skip


def test_null_and_a_missing_key_are_null(read):
    assert read('{"a":1}\n{"b":2,"a":null}\n\n{}\n', "a.jsonl") == [("1", None), (None, "2"), (None, None)]


def test_types(read):
    text = '{"i":1,"d":1.50,"t":true,"n":null,"day":"2026-02-28","j":"x"}\n{"i":"2","j":{"a":1.0}}\n{"j":null}\n'
    types = {"i": "bigint", "d": "decimal(9,2)", "t": "boolean", "day": "date", "j": "json"}
    assert read(text, "a.ndjson", types=types) == [
        (1, Decimal("1.50"), True, None, date(2026, 2, 28), '"x"'), (2, None, None, None, None, '{"a":1.0}'),
        (None, None, None, None, None, None),
    ]  # fmt: skip


BAD = [
    ("[1]", "is no JSON object"), ("1", "is no JSON object"), ('{"a":1', "is no JSON object: "),
    ('{"a":1}}', "is no JSON object: "), ('{"a":1,}', "is no JSON object: "), ("{'a':1}", "is no JSON object: "),
    ('{"a" 1}', "is no JSON object: "), ('{"a":}', "is no JSON object: "), ('{"a":01}', "is no JSON object: "),
    ('{"a":NaN}', "has NaN, which JSON does not know"), ('{"a":[-Infinity]}', "has -Infinity, which JSON"),
    ('{"a":1,"a":1}', "has the key 'a' twice"), ('{"a":{"b":1,"b":2}}', "has the key 'b' twice"),
    ('{"a":' + "[" * 100_000, "is no JSON object: it is nested too deep"), ('{"a":"\t"}', "is no JSON object: "),
    ('{"z":1}', "has the key 'z', which none of the file's first lines has"), ("garbage", "is no JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), BAD, ids=str)
def test_lines_that_are_no_objects(read, monkeypatch, line, reason):
    monkeypatch.setattr(jsonl, "HEAD_LINES", 1)
    text = f'{{"a":1}}\n\n{{"a":2}}\n{line}\n{{"a":3}}\n'
    with pytest.raises(DataError) as caught:
        read(text, "a.jsonl")
    assert caught.value.message.startswith(f"file:///a.jsonl, line 4: {reason}")
    assert len(str(caught.value)) < 500
    assert read(text, "a.jsonl", limit=1) == [("1",), ("2",), ("3",)]
    [(place, column, why, shown)] = read.refused()
    assert (place, column, shown) == ("line 4", "", line)
    assert why.startswith(reason)
    with pytest.raises(DataError) as caught:
        read(text, "a.jsonl", hidden=["a"])
    assert line not in caught.value.message
    assert caught.value.message.endswith(f"{why}.")


def test_values_that_are_none_of_their_type(read):
    text = '{"a":1,"k":1}\n{"a":"x","k":2}\nnone\n{"a":1.5,"k":null}\n{"a":"\\ud800","k":4}\n'
    with pytest.raises(DataError, match="line 2: column 'a' has 'x', which is no int64"):
        read(text.replace("none\n", ""), "a.jsonl", types={"a": "bigint"})
    assert read(text, "a.jsonl", types={"a": "bigint"}, key=["k"], limit=9) == [(1, "1")]
    assert [refused[:3] for refused in read.refused()] == [
        ("line 2", "a", "is no int64"), ("line 3", "", "is no JSON object: Expecting value at character 1"),
        ("line 4", "a", "is no int64"), ("line 5", "a", "is not UTF-8, or half of a surrogate pair"),
    ]  # fmt: skip
    assert [batch.to_pylist() for batch in read.quarantine.take_keys()] == [[{"k": "2"}, {"k": "4"}]]
    with pytest.raises(DataError, match=r"line 5: column 'a' is not UTF-8, or half of a surrogate pair: "):
        read(text.replace("none\n", '{"k":0}\n'), "a.jsonl")


def test_a_key_that_comes_late_is_not_lost(read, monkeypatch):
    monkeypatch.setattr(jsonl, "HEAD_LINES", 10)
    text = "".join(f'{{"a":{n}}}\n' for n in range(50)) + '{"a":50,"late":1}\n'
    with pytest.raises(DataError, match="line 51: has the key 'late'") as caught:
        read(text, "a.jsonl")
    assert "'columns': [...]" in caught.value.hint
    assert read(text, "a.jsonl", type="jsonl", columns=["a", "late"])[-1] == ("50", "1")
    assert read(text, "a.jsonl", type="jsonl", columns=["late"])[-1] == ("1",), "named keys are all that is wanted"


def test_charsets_and_archives(read):
    text = '{"書名":"猫"}\n{"書名":"坊ちゃん"}\n'
    rows = [("猫",), ("坊ちゃん",)]
    assert read(text.encode("cp932"), "a.jsonl", charset="cp932") == rows
    assert read(text.encode("utf-16"), "a.jsonl") == rows
    assert read(gzip.compress(text.encode("utf-8-sig")), "a.json.gz") == rows
    with pytest.raises(DataError, match="cannot be read"):
        read(gzip.compress(text.encode())[:-3], "a.jsonl.gz")
    bad = text.encode("cp932") + b'{"\x8f\x91\x96\xbc":"\x81"}\n'
    assert read(bad, "a.jsonl", charset="cp932", limit=1) == rows
    assert read.refused() == [
        ("line 3", "書名", "is not cp932, or half of a surrogate pair", {"書名": "\\x81"})
    ]  # fmt: skip


OTHER = [
    ('[{"a":1},{"a":2}]', "is a JSON array"), ('[\n{"a":1}\n]\n', "is a JSON array"),
    ('{\n  "a": 1\n}\n', "is JSON over several lines"), ("", "has no objects with keys"),
    ("x\ny\n", "has no objects with keys"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what"), OTHER)
def test_json_that_is_no_json_lines(read, text, what):
    with pytest.raises(DataError, match=what):
        read(text, "a.json")


def test_a_line_that_is_too_long(read, monkeypatch):
    monkeypatch.setattr(jsonl, "LINE_BYTES", 1000)
    with pytest.raises(DataError, match="line 2: it is longer than"):
        read('{"a":1}\n{"a":"' + "x" * 2000, "a.jsonl")


def test_many_batches(read, monkeypatch):
    monkeypatch.setattr(jsonl, "_BATCH_ROWS", 7)
    text = "".join(f'{{"a":{n}}}\n' if n % 10 else "bad\n" for n in range(100))
    assert read(text, "a.jsonl", limit=10) == [(str(n),) for n in range(100) if n % 10]
    assert [place for place, *_ in read.refused()] == [f"line {n + 1}" for n in range(0, 100, 10)]


def test_a_time_format_of_no_key(read):
    with pytest.raises(ConfigurationError, match="time_formats names column 'b'"):
        read('{"a":1}\n', "a.jsonl", time_formats={"b": "%Y"})
