"""A whole file held against a guess: what does not fit, and what would not come out as it stands."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.core.quarantine import Quarantine, RefusedRow
from airflow_elt_provider.core.types import parse_type, wire_type
from airflow_elt_provider.errors import QuarantineExceededError
from airflow_elt_provider.formats.dialect import Dialect
from airflow_elt_provider.formats.guess_comments import comments
from airflow_elt_provider.formats.guess_fast import LED_BY_ZERO, Fast, filled, text_of, word_markers
from airflow_elt_provider.formats.guess_report import Guess
from airflow_elt_provider.formats.table_file import TableFile, table_file
from airflow_elt_provider.formats.text_file import unreadable

MOST_REFUSED: Final = 10_000
"""Rows that are set aside before the check gives up: the guess is wrong then."""
_LINE: Final = re.compile(r"line (\d+)\b")
_SHOWN: Final = 200


@dataclass(frozen=True)
class Misfit:
    """Something that does not fit.

    :param line: in the (unpacked) file; 0 where it is not known.
    :param column: "" for the row as a whole.
    :param file: "" where only one was read.
    """

    line: int
    column: str
    value: str
    why: str
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: " * bool(self.file) + (f"line {self.line}" if self.line else "somewhere")
        column = f", column {self.column!r}" if self.column else ""
        return f"{where}{column}: {self.value!r} {self.why}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {name: value for name, value in vars(self).items() if name != "file" or value}


@dataclass
class Check:
    """The outcome.

    :param rows: of the file, those that do not fit included.
    :param misfits: how many things do not fit.
    :param shown: the first of them.
    :param ended: whether the whole file was read; else the guess was wrong too often.
    :param most: how often is too often.
    :param comments: lines that were left out as such.
    :param scope: which of several files were read, in words.
    """

    rows: int = 0
    misfits: int = 0
    shown: list[Misfit] = field(default_factory=list)
    ended: bool = True
    most: int = MOST_REFUSED
    seconds: float = 0.0
    comments: int = 0
    scope: str = ""

    @property
    def share(self) -> float:
        """The share of the rows that fits, 0 to 1; rounded down. 0 where there are none: nothing is known to fit."""
        return int(max(0, self.rows - self.misfits) / self.rows * 1_000_000) / 1_000_000 if self.rows else 0.0

    def add(self, found: Sequence[Misfit], most: int) -> None:
        """Count what does not fit, and keep the first of it."""
        self.misfits += len(found)
        self.shown += found[: max(0, most - len(self.shown))]

    def join(self, other: Check, file: str) -> None:
        """Add what was found in another file."""
        self.rows, self.misfits = self.rows + other.rows, self.misfits + other.misfits
        self.shown += [replace(one, file=file) for one in other.shown]
        self.ended, self.most = self.ended and other.ended, other.most
        self.seconds, self.comments = self.seconds + other.seconds, self.comments + other.comments

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "rows": self.rows, "misfits": self.misfits, "share": self.share, "whole_file": self.ended,
            "shown": [one.to_json() for one in self.shown], "seconds": round(self.seconds, 3),
            "comments": self.comments, "scope": self.scope,
        }  # fmt: skip

    def __str__(self) -> str:
        left_out = [f"{self.comments:,} lines are left out as comments"] if self.comments else []
        return "\n".join([self._verdict(), *left_out, *([self.scope] if self.scope else [])])

    def _verdict(self) -> str:
        if not self.rows:
            return "there are no rows: nothing could be validated"
        if not self.misfits:
            return f"all of {self.rows:,} rows fit ({self.seconds:.1f} s)"
        if not self.ended:
            return "\n".join([f"more than {self.most:,} rows do not fit; the rest was not read", *map(str, self.shown)])
        head = f"{self.misfits:,} of {self.rows:,} rows do not fit, {self.share:.4%} do ({self.seconds:.1f} s)"
        more = [f"... and {self.misfits - len(self.shown):,} more"] if self.misfits > len(self.shown) else []
        return "\n".join([head, *map(str, self.shown), *more])


def check(path: Path, guess: Guess, most: int = 20, give_up: int = MOST_REFUSED) -> Check:
    """Read a whole file as the guess says.

    :param path: of the file, or a copy of it.
    :param most: how many misfits are kept.
    :param give_up: after how many rows that do not fit the rest is not read.
    :raises DataError: for a file that cannot be read at all: cut off, or broken.
    """
    started = time.perf_counter()
    done = Check(most=give_up)
    try:
        fast = Fast.of(path, guess)
        rows = fast.rows() if fast else None
        if rows is None:
            _carefully(path, guess, done, most)
        else:
            done.rows = rows
    except (EOFError, zlib.error, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's, not the file's
            raise
        raise unreadable(guess.name, error) from error
    done.seconds = time.perf_counter() - started
    return done


# --- the careful way ---


def _carefully(path: Path, guess: Guess, done: Check, most: int) -> None:
    file = table_file(path, guess.name, guess.form)
    names = file.header()
    types = {**dict(file.types()), **{name: parse_type(kind) for name, kind in guess.column_types.items()}}
    columns = [(name, types.get(name, pa.string())) for name in names if name not in guess.left_out]
    quarantine = Quarantine(guess.name, done.most)
    try:
        for count in _counted(file, columns, quarantine):
            done.rows += count
            done.add(list(map(_misfit, quarantine.take())), most)
    except QuarantineExceededError:
        done.ended = False
    left = list(map(_misfit, quarantine.take()))
    done.add(left, most)
    done.rows += done.misfits
    if done.ended and guess.form.type == "csv":
        _exactly(path, guess, types, done, most)
        if guess.form.comment:
            _left_out(path, guess, done, most)
        done.shown.sort(key=lambda one: one.line)


def _counted(file: TableFile, columns: Sequence[tuple[str, pa.DataType]], quarantine: Quarantine) -> Iterator[int]:
    schema = pa.schema([pa.field(name, wire_type(kind)) for name, kind in columns])
    for batch in file.batches(columns, schema, quarantine):
        yield batch.num_rows


def _misfit(row: RefusedRow) -> Misfit:
    line = _LINE.search(row.place.rpartition(", ")[2] or row.place)
    value = row.values.get(row.column) if row.column else row.text
    return Misfit(int(line[1]) if line else 0, row.column, (value or "")[:_SHOWN], row.reason)


# --- what can be read, and would not be the same ---


def _left_out(path: Path, guess: Guess, done: Check, most: int) -> None:
    """Count the comments, and find rows among them."""
    why = "is left out as a comment, and is as wide as a row"

    def like_a_row(line: int, text: str) -> None:
        done.rows += 1
        done.add([Misfit(line, "", text[:_SHOWN], why)], most)

    done.comments += comments(path, guess, like_a_row)


def _exactly(path: Path, guess: Guess, types: Mapping[str, pa.DataType], done: Check, most: int) -> None:
    """Find numbers that begin with zeros, and words in text columns that would become NULL."""
    numbers = [name for name, kind in types.items() if pa.types.is_integer(kind) or pa.types.is_decimal(kind)]
    words = word_markers(guess.form)
    texts = [one.name for one in guess.columns if one.is_text] if words else []
    looked_at = {*numbers, *texts, *guess.left_out}
    if not looked_at:
        return
    raw = replace(guess.form, null_values=("",), quoted_nulls=False, time_formats={})
    file = table_file(path, guess.name, raw)
    columns = [(name, pa.string()) for name in file.header() if name in looked_at]
    schema = pa.schema([pa.field(name, pa.string()) for name, _ in columns])
    found: list[tuple[int, str, str, str]] = []
    before = count = 0
    for batch in file.batches(columns, schema, Quarantine(guess.name, MOST_REFUSED)):
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            odd, why = _odd(array, name, numbers, guess.left_out, words)
            count += len(odd)
            found += [(before + at, name, array[at].as_py(), why) for at in odd[: max(0, most - len(found))]]
        before += batch.num_rows
    if found:
        lines = _lines(path, guess, {at for at, *_ in found}, len(guess.columns) + len(guess.left_out))
        done.add([Misfit(lines.get(at, 0), name, value[:_SHOWN], why) for at, name, value, why in sorted(found)], most)
        done.misfits += count - len(found)


def _odd(
    array: pa.Array[Any], name: str, numbers: Collection[str], left_out: Collection[str], words: Sequence[str]
) -> tuple[list[int], str]:
    """Return which values would not come out as they stand, and why."""
    matched: Any
    if name in numbers:
        matched, why = pc.match_substring_regex(array, LED_BY_ZERO), "begins with a zero that a number would lose"
    elif name in left_out:
        matched, why = filled(array), "is in a column that is left out, as it was empty"
    else:
        matched = pc.is_in(array, value_set=pa.array(words, pa.string()))
        why = "is a text here, and would become NULL: null_values holds for all columns"
    found: Any = pc.indices_nonzero(pc.fill_null(matched, pa.scalar(value=False)))
    return found.to_pylist(), why


def _lines(path: Path, guess: Guess, wanted: Collection[int], width: int) -> dict[int, int]:
    """Return in which lines rows begin; rows are counted from 0, without the header and those of another width."""
    form = guess.form
    found: dict[int, int] = {}
    row = -1 if form.header else 0
    with text_of(path, guess) as text:
        for _ in range(form.skip_lines):
            text.readline()
        for line, cells in Dialect(form).records(text, 1 << 26):
            if not cells or len(cells) != width:
                continue
            if row in wanted:
                found[row] = line + form.skip_lines
                if len(found) == len(wanted):
                    break
            row += 1
    return found
