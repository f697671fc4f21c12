"""What a sample shows of a file, what it does not show, and what reading the whole file finds."""

from __future__ import annotations

import bz2
import gzip
import random
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.guess import guess
from airflow_elt_provider.formats.guess_check import check
from airflow_elt_provider.formats.guess_fast import Fast
from airflow_elt_provider.formats.guess_sample import Sample, take_sample

MIB = 1 << 20


@dataclass
class Watched:
    """A file that keeps account of what is read of it."""

    data: bytes
    read_of: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self):
        return len(self.data)

    def read(self, start, length):
        self.read_of.append((start, length))
        return self.data[start : start + length]


def types(found):
    return {one.name: one.type for one in found.columns}


def big(change_at=0.5, rows=200_000):
    lines = [f"{n},{n * 7},{n % 997:03}" for n in range(rows)]
    return lines, int(rows * change_at)


@pytest.mark.parametrize(("share", "until"), [(0.4, 0.6), (0.999, 1.0)])
def test_what_only_the_middle_or_the_end_shows_is_seen(share, until):
    """Embulk's guess reads the first 32 kB and no more (its issue #476)."""
    lines, at = big(share)
    for n in range(at, int(until * len(lines))):
        lines[n] = f"{n},{n * 7}.5,x"
    data = ("id,amount,code\n" + "\n".join(lines) + "\n").encode()
    file = Watched(data)
    found = guess(take_sample(file), "x.csv")
    assert types(found) == {"id": "bigint", "amount": "decimal(18,1)", "code": "text"}
    assert sum(length for _, length in file.read_of) < MIB
    assert types(guess(Sample.of_bytes(data[:32768]), "x.csv"))["amount"] == "bigint"


def test_pieces_begin_in_the_middle_of_quoted_line_breaks():
    draw = random.Random(7)
    rows = [
        f'{n},"{"line, of it" * draw.randrange(1, 9)}\n{"more" * draw.randrange(9)}\n""x""",{n / 4:.2f}'
        for n in range(9000)
    ]
    found = guess(Sample.of_bytes(("id,note,amount\n" + "\n".join(rows) + "\n").encode()), "x.csv")
    assert types(found) == {"id": "bigint", "note": "text", "amount": "decimal(18,2)"}
    assert not found.warnings
    assert found.rows > 1000


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp", "utf-16-le", "utf-16"])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_piece_may_end_in_the_middle_of_a_character(charset, shift):
    rows = [f"{10**9 + n},{'東京都港区' * 3}カタカナとひらがな" for n in range(9_000)]
    data = (f"番号,{'住' * (shift + 1)}所\n" + "\n".join(rows)).encode(charset)
    found = guess(Sample.of_bytes(data), "x.csv")
    assert found.form.charset == charset
    assert list(types(found).values()) == ["bigint", "text"]
    assert not found.warnings


@pytest.mark.parametrize(
    ("name", "pack"),
    [("gzip", gzip.compress), ("bz2", bz2.compress), ("zstd", lambda data: pa.compress(data, "zstd", asbytes=True))],
)
def test_a_packed_file_is_told_by_its_beginning_and_read_only_as_far_as_the_budget_goes(name, pack, tmp_path):
    draw = random.Random(1)
    rows = "".join(f"{n},{draw.getrandbits(256):x},{n}.5\n" for n in range(60_000))
    data = pack(f"id,hash,amount\n{rows}".encode())
    file = Watched(data)
    found = guess(take_sample(file), "x.csv")
    assert types(found) == {"id": "bigint", "hash": "text", "amount": "decimal(18,1)"}
    assert found.form.compression == name
    assert sum(length for _, length in file.read_of) <= 9 * MIB
    told = {"gzip": "x.csv.gz", "bz2": "x.csv.bz2", "zstd": "x.csv.zst"}[name]
    assert guess(take_sample(Watched(data)), told).form.compression == "auto"
    (tmp_path / told).write_bytes(data)
    done = check(tmp_path / told, guess(take_sample(Watched(data)), told))
    assert (done.rows, done.misfits) == (60_000, 0)


def test_gzip_members_one_after_the_other():
    data = gzip.compress(b"id,name\n1,a\n") + gzip.compress(b"2,b\n")
    found = guess(Sample.of_bytes(data), "x.csv.gz")
    assert found.rows == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"PK\x03\x04" + b"\0" * 99, "ZIP"),
        (b"\x1f\x8b\x08 no gzip", "cannot be unpacked"),
    ],
)
def test_what_is_no_file_of_rows(data, words):
    with pytest.raises(DataError, match=words):
        guess(Sample.of_bytes(data), "x.csv")


def test_json_lines():
    data = b'{"id": 1, "at": "2026-01-02T03:04:05Z", "zip": "00123", "ok": true, "x": 1.50, "d": {"a": 1}}\n' * 2
    found = guess(Sample.of_bytes(data), "x.jsonl")
    assert found.form.to_json() == {"type": "jsonl"}
    assert types(found) == {
        "id": "bigint",
        "at": "timestamptz",
        "zip": "text",
        "ok": "boolean",
        "x": "decimal(18,2)",
        "d": "json",
    }


def test_a_column_that_may_be_the_key():
    data = "amount,order_id,name\n" + "".join(f"{n},{n},n{n % 3}\n" for n in range(9))
    assert guess(Sample.of_bytes(data.encode()), "x.csv").key == "order_id"
    assert not guess(Sample.of_bytes(b"n,m\n1,1\n1,1\n2,2\n"), "x.csv").key


def test_confidence_grows_with_what_is_seen():
    few, many = (guess(Sample.of_bytes(f"id\n{rows}".encode()), "x.csv").columns[0].confidence
                 for rows in ("1\n12\n", "".join(f"{n}\n" for n in range(999))))  # fmt: skip
    assert few < 0.8
    assert many > 0.9


# --- the whole file ---


def _checked(tmp_path, head, odd, most=20, rest="{n},{n}.25,n{n}"):
    """Write a file whose sample looks well, with odd rows where no sample looks."""
    rows = [rest.format(n=n) for n in range(150_000)]
    at = int(len(rows) * 0.18)
    rows[at : at + len(odd)] = odd
    data = ("\n".join([head, *rows]) + "\n").encode()
    (tmp_path / "x.csv").write_bytes(data)
    found = guess(Sample.of_bytes(data), "x.csv")
    return found, check(tmp_path / "x.csv", found, most), at + 2


def test_what_does_not_fit_is_shown_with_line_column_and_value(tmp_path):
    found, done, line = _checked(tmp_path, "id,amount,name", ["x1,2.25,n", "5,6.25", "7,abc,n"])
    assert types(found) == {"id": "bigint", "amount": "decimal(18,2)", "name": "text"}
    assert [(one.line, one.column, one.value) for one in done.shown] == [
        (line, "id", "x1"), (line + 1, "", "5,6.25"), (line + 2, "amount", "abc"),
    ]  # fmt: skip
    assert (done.rows, done.misfits, done.ended) == (150_000, 3, True)
    assert done.share == 0.99998
    assert "3 of 150,000 rows do not fit" in str(done)


def test_no_more_is_shown_than_asked_for(tmp_path):
    _, done, _ = _checked(tmp_path, "id,amount,name", ["x,2.25,n"] * 50, most=3)
    assert (len(done.shown), done.misfits) == (3, 50)
    assert "and 47 more" in str(done)


def test_zeros_in_front_that_the_sample_does_not_show(tmp_path):
    found, done, line = _checked(tmp_path, "id,amount,name", ["0017,1.25,n", '"18","007.25",n', "0x1F,1.25,0099"])
    assert types(found)["id"] == "bigint"
    shown = [(one.line, one.column, one.value) for one in done.shown]
    assert shown == [(line, "id", "0017"), (line + 1, "amount", "007.25"), (line + 2, "id", "0x1F")]


def test_zeros_in_front_of_texts_are_no_misfit(tmp_path):
    found, done, _ = _checked(tmp_path, "id,amount,name", [], rest="{n},{n}.25,0{n}")
    assert types(found)["name"] == "text"
    assert done.misfits == 0
    assert Fast.of(tmp_path / "x.csv", found).rows() == 150_000


def test_a_marker_of_numbers_that_is_a_word_elsewhere_in_the_file(tmp_path):
    rows = [f"{n},{'NA' if n % 5 else n},JP" for n in range(150_000)]
    rows[27_000] = "27000,1,NA"
    data = ("\n".join(["id,n,country", *rows]) + "\n").encode()
    (tmp_path / "x.csv").write_bytes(data)
    found = guess(Sample.of_bytes(data), "x.csv")
    assert found.form.null_values == ("", "NA")
    done = check(tmp_path / "x.csv", found)
    assert [(one.line, one.column, one.value) for one in done.shown] == [(27_002, "country", "NA")]


def test_a_column_that_is_left_out_and_is_not_empty_after_all(tmp_path):
    found, done, line = _checked(tmp_path, "id,amount,", ["1,2.25,lost"], rest="{n},{n}.25,")
    assert found.left_out == ("_empty",)
    assert [(one.line, one.column, one.value) for one in done.shown] == [(line, "_empty", "lost")]


def test_bytes_that_are_no_text(tmp_path):
    rows = [f"{n},é{n}".encode() for n in range(150_000)]
    rows[20_000] = b"20000,\xff\xfe"
    data = b"\n".join([b"id,name", *rows]) + b"\n"
    (tmp_path / "x.csv").write_bytes(data)
    done = check(tmp_path / "x.csv", guess(Sample.of_bytes(data), "x.csv"))
    assert [(one.line, one.column) for one in done.shown] == [(20_002, "name")]


def test_lines_are_right_behind_line_breaks_in_quotes(tmp_path):
    rows = [f'{n},"a\nb"' for n in range(150_000)]
    rows[27_000] = '030,"a\nb"'
    rows[27_001] = 'x,"a\nb"'
    data = ("\n".join(["id,name", *rows]) + "\n").encode()
    (tmp_path / "x.csv").write_bytes(data)
    found = guess(Sample.of_bytes(data), "x.csv")
    assert types(found)["id"] == "bigint"
    assert [one.line for one in check(tmp_path / "x.csv", found).shown] == [54_002, 54_004]


def test_a_guess_that_is_wrong_everywhere_is_given_up(tmp_path):
    data = b"id,name\n" + b"1,a\n" * 9
    found = guess(Sample.of_bytes(data), "x.csv")
    (tmp_path / "x.csv").write_bytes(b"id,name\n" + b"x,a\n" * 2_000)
    done = check(tmp_path / "x.csv", found, give_up=1000)
    assert not done.ended
    assert "more than 1,000 rows do not fit" in str(done)
