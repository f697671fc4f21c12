"""Delimited text in other dialects, charsets and archives than the default."""

from __future__ import annotations

import bz2
import gzip
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest

from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats import csv

pytestmark = pytest.mark.lowest


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


DIALECTS = [
    ({"delimiter": ";"}, 'a;b\n1;"x;y"\n', [("1", "x;y")]),
    ({"delimiter": "\x01"}, "a\x01b\n1\x01,\n", [("1", ",")]),
    ({"delimiter": "¦"}, 'a¦b\n1¦"x¦y"\n2¦\n', [("1", "x¦y"), ("2", None)]),
    ({"delimiter": "|", "quote": "'"}, "a|b\n1|'x|''y'\n\"|''\n", [("1", "x|'y"), ('"', "")]),
    ({"quote": ""}, 'a,b\n"1,2"\n', [('"1', '2"')]),
    ({"quote": "“"}, "a,b\n“x,y“,““““\n", [("x,y", "“")]),
    ({"escape": "\\"}, 'a,b\n"x\\"y",z\\,w\n"q""r",\\\\\n', [('x"y', "z,w"), ('q"r', "\\")]),
    ({"escape": "\\", "quote": ""}, "a,b\nx\\,y,\\\\\n", [("x,y", "\\")]),
    ({"escape": '"'}, 'a,b\n"x""y",\n', [('x"y', None)]),
    ({"header": False, "columns": ["x", "y"]}, "1,2\n3,4", [("1", "2"), ("3", "4")]),
    ({"skip_lines": 2}, '"never closed\r\n\r\na,b\r\n1,2\r\n', [("1", "2")]),
    ({"skip_lines": 1, "header": False, "columns": ["x"]}, "a\n1\n\n2\n", [("1",), (None,), ("2",)]),
    ({"comment": "#"}, '# über\na,b\n1,"x\n#y"\n#,,,\n2,#\n# end', [("1", "x\n#y"), ("2", "#")]),
    ({"trim": True}, 'a , b\n 1 , " x " \n,  \n\t2,y z \n   \n', [("1", " x "), (None, None), ("2", "y z")]),
    ({"null_values": ["NA", "-"]}, 'a,b\nNA,"NA"\n-,\n', [(None, "NA"), (None, "")]),
    ({"null_values": ["NA"], "quoted_nulls": True}, 'a,b\nNA,"NA"\n', [(None, None)]),
    ({"null_values": ["\\N"], "escape": "\\"}, 'a,b\n\\N,\\\\N\n"\\N",\n', [(None, "\\N"), ("N", "")]),
    ({"null_values": []}, 'a,b\n,""\n', [("", "")]),
    ({"trim": True, "null_values": ["NA", ""], "quoted_nulls": True}, 'a,b\n NA,"NA"\n "",x\n',
     [(None, None), (None, "x")]),
    ({"trim": True, "delimiter": "\t"}, "a\tb\n 1 \t\n", [("1", None)]),
    ({"trim": True, "null_values": ["NA"]}, "a\nNA\n\nx\n", [(None,), ("",), ("x",)]),
]  # fmt: skip


@pytest.mark.parametrize(("form", "text", "rows"), DIALECTS, ids=str)
def test_dialects(read, form, text, rows):
    assert read(text, **form) == rows


@pytest.mark.parametrize(("form", "text", "rows"), DIALECTS, ids=str)
def test_dialects_where_a_row_is_bad(read, form, text, rows):
    """A row that cannot be read takes the careful way, and is found with its line."""
    delimiter = form.get("delimiter", ",")
    bad = delimiter.join("xyzw")
    text = text.rstrip("\r\n")
    assert read(f"{text}\n{bad}\n", limit=1, **form) == rows
    [(place, column, reason, shown)] = read.refused()
    assert (place, column) == (f"line {text.count(chr(10)) + 2}", "")
    assert reason.startswith("4 fields instead of ")
    assert shown.replace('"', "") in {bad, "x,y,z,w"}


def test_tabs_by_the_name(read):
    assert read("a\tb,c\n1\t2\n", "a.tsv") == [("1", "2")]
    assert read("a\tb\n1\t2\n", "a.txt", delimiter="\t") == [("1", "2")]


CHARSETS = ["cp932", "euc_jp", "iso2022_jp", "utf-16", "utf-16-le", "utf-32", "gb18030", "utf-8-sig", "utf-7"]


@pytest.mark.parametrize("charset", CHARSETS)
def test_charsets(read, charset, monkeypatch):
    rows = [(str(n), f"坊ちゃん、\n表{n}") for n in range(3000)]
    text = "番号,書名\n" + "".join(f'{n},"{name}"\n' for n, name in rows)
    assert read(text.encode(charset), charset=charset) == rows
    assert read(text.encode(charset), charset=charset, trim=True, skip_lines=0) == rows


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_wins(read, charset):
    assert read("書名,x\n猫,1\n".encode(charset), charset="cp932") == [("猫", "1")]
    big = {
        "utf-16": b"\xfe\xff" + "書,x\n猫,1\n".encode("utf-16-be"),
        "utf-32": b"\0\0\xfe\xff" + "書,x\n猫,1\n".encode("utf-32-be"),
    }
    if charset in big:
        assert read(big[charset]) == [("猫", "1")]


def test_latin_1_and_single_bytes(read):
    assert read("a\nMüller\n".encode("latin-1"), charset="latin-1") == [("Müller",)]


def test_what_is_not_of_the_charset_is_refused_with_its_line(read):
    data = "a,b\n1,猫\n2,".encode("cp932") + b"x\x81\n3,x\n"
    with pytest.raises(DataError, match=r"line 3: column 'b' is not cp932: 'x\\\\x81'"):
        read(data, charset="cp932")
    assert read(data, charset="cp932", limit=1) == [("1", "猫"), ("3", "x")]
    assert read.refused() == [("line 3", "b", "is not cp932", {"a": "2", "b": "x\\x81"})]
    with pytest.raises(DataError, match=r"line 3: column 'b' is not cp932\."):
        read(data, charset="cp932", hidden=["b"])
    with pytest.raises(DataError, match=r"header row of .* is not ascii"):
        read("書名\n".encode(), charset="ascii")
    assert read("a,b\n1,é\n2,x\n".encode(), charset="ascii", limit=1) == [("2", "x")]
    both = b"a,b\n1,2\n\xff\n3,4\n\xfe,1,2\n5,6\n"
    assert read(both, limit=2) == [("1", "2"), ("3", "4"), ("5", "6")]
    assert [(place, text) for place, _, _, text in read.refused()] == [("line 3", "\\xff"), ("line 5", "\\xfe,1,2")]
    with pytest.raises(DataError, match=r"line 3: 1 fields instead of 2\."):
        read(both, hidden=["a"])
    half = "a\nxy\n".encode("utf-16")[:-1]
    with pytest.raises(DataError, match="line 2: column 'a' is not utf-16"):
        read(half, charset="utf-16")


PACKED = [
    ("a.csv.gz", gzip.compress), ("a.csv.zst", zstd), ("a.csv.bz2", bz2.compress),
]  # fmt: skip


@pytest.mark.parametrize(("name", "pack"), PACKED)
def test_archives(read, name, pack):
    rows = [(str(n), "x" * (n % 50)) for n in range(50_000)]
    text = "a,b\n" + "".join(f'{a},"{b}"\n' for a, b in rows)
    assert read(pack(text[:1000].encode()) + pack(text[1000:].encode()), name) == rows
    spoken = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}[name.rpartition(".")[2]]
    assert read(pack(text.encode()), "a.csv", compression=spoken) == rows


@pytest.mark.parametrize(("name", "pack"), PACKED)
def test_archives_that_are_not_whole(read, name, pack):
    whole = pack(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(5000)))
    for broken in (whole[:-1], whole[: len(whole) // 2], whole[:5], whole + whole[:-4], whole + whole[:3],
                   whole + b"garbage", b"a,b\n1,2\n", b""):  # fmt: skip
        with pytest.raises(DataError, match="cannot be read"):
            read(broken, name)
        with pytest.raises(DataError, match="cannot be read"):
            read(broken, name, limit=10)


def test_padding_after_an_archive_is_nothing(read):
    assert read(gzip.compress(b"a\n1\n") + bytes(1000), "a.csv.gz") == [("1",)]


FOREIGN = [
    (b"PK\x03\x04" + bytes(40), "a ZIP archive or an Excel workbook"), (b"%PDF-1.7\n%\xe2\n", "a PDF document"),
    (b"\n <!DOCTYPE html>\n<html>", "an HTML page"), (b"<html lang='en'>", "an HTML page"),
    (b'<?xml version="1.0"?>', "an XML document"), (gzip.compress(b"a\n1", mtime=0), "compressed with gzip"),
    (zstd(b"a\n1"), "compressed with zstd"), (bz2.compress(b"a\n1"), "compressed with bz2"),
    (b"PAR1\x15\x00\x15", "a Parquet file"), (b"SQLite format 3\x00", "an SQLite database"),
    ("a,b\n1,2\n".encode("utf-16-be"), "binary, or text in UTF-16"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "what"), FOREIGN)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_what_is_no_text_is_called_by_its_name(read, data, what, name):
    with pytest.raises(DataError, match=rf"file:///{name} is {what}"):
        read(gzip.compress(data) if name.endswith(".gz") else data, name)


def test_text_that_begins_like_something_else_is_text(read):
    assert read("ORC,PAR1\n1,2\n") == [("1", "2")]
    assert read("BZh91,b\n1,2\n") == [("1", "2")]


TIMES = [
    ("%d.%m.%Y", "28.02.2026", date(2026, 2, 28), "date"), ("%Y%m%d", "20260228", date(2026, 2, 28), "date"),
    ("%d.%m.%Y", "3.2.2026", date(2026, 2, 3), "date"), ("%d %b %y", "03 Feb 26", date(2026, 2, 3), "date"),
    ("%d/%m/%Y %H:%M:%S", "28/02/2026 01:02:03", datetime(2026, 2, 28, 1, 2, 3), "timestamp"),
    ("%Y-%m-%d %H.%M.%S.%f", "2026-02-28 01.02.03.5", datetime(2026, 2, 28, 1, 2, 3, 500_000), "timestamp"),
    ("%m/%d/%Y %I:%M %p", "02/28/2026 01:02 PM", datetime(2026, 2, 28, 13, 2), "timestamp"),
    ("%d.%m.%Y %H:%M %z", "28.02.2026 01:02 +0900", datetime(2026, 2, 27, 16, 2, tzinfo=UTC), "timestamptz"),
    ("%Hh%M", "23h59", time(23, 59), "time"), ("%Y年%m月%d日", "2026年02月28日", date(2026, 2, 28), "date"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "text", "value", "kind"), TIMES)
def test_time_formats(read, pattern, text, value, kind):
    data = f'a,b\n1,"{text}"\n2,\n3,"{text}"\n4,""\n'
    expected = [("1", value), ("2", None), ("3", value), ("4", None)]
    assert read(data, time_formats={"b": pattern}) == expected
    assert read(data, time_formats={"b": pattern}, types={"b": kind}) == expected
    assert read(data, time_formats={"b": pattern}, types={"b": "text"})[0] == ("1", text)
    lines = "".join(json.dumps({"a": row[0], "b": text if row[1] else None}) + "\n" for row in expected)
    assert read(lines, "a.jsonl", time_formats={"b": pattern}) == expected
    with pytest.raises(DataError, match="line 3: column 'b' has '2026', which is no "):
        read(f'a,b\n1,"{text}"\n2,2026\n', time_formats={"b": pattern})


BAD_TIMES = [("%d.%m.%Y", "29.02.2026"), ("%d.%m.%Y", "28.02.2026 "), ("%d.%m.%Y %H:%M:%S", "28.02.2026 24:00:00")]


@pytest.mark.parametrize(("pattern", "text"), BAD_TIMES)
def test_dates_that_are_none(read, pattern, text):
    with pytest.raises(DataError, match="line 2: column 'a' has"):
        read(f"a\n{text}\n", time_formats={"a": pattern})


UNFIT = [("%d.%m.%Y %H:%M", "timestamptz"), ("%d.%m.%Y", "bigint"), ("%H:%M", "date"), ("%d.%m.%Y %z", "timestamp")]


@pytest.mark.parametrize(("pattern", "kind"), UNFIT)
def test_time_formats_of_another_type(read, pattern, kind):
    with pytest.raises(ConfigurationError, match="time_formats reads column 'a'"):
        read("a\n\n", time_formats={"a": pattern}, types={"a": kind})


def test_a_date_does_not_lose_its_time(read):
    form = {"time_formats": {"a": "%d.%m.%Y %H:%M"}}
    assert read("a\n28.02.2026 00:00\n", types={"a": "date"}, **form) == [(date(2026, 2, 28),)]
    with pytest.raises(DataError, match="which is no date"):
        read("a\n28.02.2026 00:01\n", types={"a": "date"}, **form)


def test_a_time_format_of_no_column(read):
    with pytest.raises(ConfigurationError, match=r"time_formats names column 'b', and file:///a\.csv has none"):
        read("a\n1\n", time_formats={"b": "%Y"})


def test_a_quote_that_is_never_closed_in_other_dialects(read):
    for form in ({"trim": True}, {"quote": "'"}, {"quote": "”"}):
        quote = form.get("quote", '"')
        for end in ("", "\n", "\n1,2\n"):
            with pytest.raises(DataError, match="quotes do not match, at or after line 3"):
                read(f"a,b\n1,2\n3,{quote}cut o{end}", **form)


def test_a_quote_that_is_never_closed_in_the_first_field(read):
    for form in ({}, {"trim": True}):
        with pytest.raises(DataError, match="quotes do not match, at or after line 3"):
            read('a,b\n1,2\n"cut o', limit=9, **form)


def test_two_odd_quotes_are_seen_where_one_is_open(read):
    """One quote inside of a field, and one that is never closed, are an even number."""
    with pytest.raises(DataError, match="quotes do not match, at or after line 3"):
        read('a,b\n5" pipe,2\n3,"cut o\n')


def test_rows_longer_than_a_block(read, monkeypatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 1 << 16)
    for form in ({}, {"trim": True}):
        with pytest.raises(DataError, match="a row is longer than"):
            read("a,b\n1,2\n3," + "x" * (1 << 18) + "\n", **form)


def test_numbers_stay_what_they_are_on_either_way(read):
    """Arrow's own reading of numbers takes what ours does not."""
    with pytest.raises(DataError, match="line 3: column 'a' has '123', which is no decimal"):
        read("a\n1\n123\n", types={"a": "decimal(4,2)"})
    for text in ("0xFFFFFFFFFFFFFFFF", "0XFFFFFFFFFFFFFFFF"):
        for kind in ("smallint", "bigint"):
            with pytest.raises(DataError, match=f"line 3: column 'a' has '{text}'"):
                read(f"a\n-1\n{text}\n", types={"a": kind})
    assert read("a,b\n-1,0xFF\n-2,x\n", types={"a": "bigint"}) == [(-1, "0xFF"), (-2, "x")]


def test_the_careful_way_goes_on_where_the_fast_one_ended(read, monkeypatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 1 << 12)
    rows = [(n, Decimal(n) / 100, f"x{n}") for n in range(5000)]
    lines = [f"{n},{amount},{text}\n" for n, amount, text in rows]
    lines[4000] = '4000,"",x\n'
    lines[4500] = "y,1,z\n"
    lines[4600] = "1,2\n"
    found = read(
        "id,amount,text\n" + "".join(lines), types={"id": "int", "amount": "decimal(9,2)"}, limit=9, key=["id"]
    )
    expected = [row for row in rows if row[0] not in {4500, 4600}]
    assert found[:4000] == expected[:4000]
    assert found[4000] == (4000, None, "x")
    assert found[4001:] == expected[4001:]
    assert [refused[:3] for refused in read.refused()] == [
        ("line 4502", "id", "is no int32"), ("line 4602", "", "2 fields instead of 3")
    ]  # fmt: skip


@pytest.mark.parametrize("form", [{}, {"charset": "cp932"}, {"trim": True}, {"escape": "\\"}], ids=str)
@pytest.mark.parametrize("limit", [0, 5])
def test_line_ends_in_quotes_survive_the_edges_of_blocks(read, monkeypatch, form, limit):
    """Arrow drops a line feed that begins a block, where the block before ended in a carriage return."""
    monkeypatch.setattr(csv, "BLOCK_BYTES", 64)
    for pad in range(64):
        rows = [("x" * pad, "1\r\n2"), ("y", "\r\n"), ("z", "3\r4"), ("猫", "5\n6")]
        body = "a,b\r\n" + "".join(f'{first},"{second}"\r\n' for first, second in rows)
        found = read(body.encode(form.get("charset", "utf-8")), limit=limit, **form)
        assert found == [(first or None, second) for first, second in rows], pad


def test_no_row_can_be_taken_for_the_end(read):
    assert read("a,b\n1,\x1aend of file\x1a\n\x1aend of file\x1a,2\n") == [
        ("1", "\x1aend of file\x1a"),
        ("\x1aend of file\x1a", "2"),
    ]
    with pytest.raises(DataError, match="line 2: 4 fields instead of 2"):
        read("a,b\n\x1aend of file\x1a,,,\n1,2\n")
