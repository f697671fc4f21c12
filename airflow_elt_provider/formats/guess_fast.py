"""The fast way to see that all of a file fits: Arrow reads it with the guessed types, and nothing odd passes by."""

from __future__ import annotations

import re
import secrets
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.formats.blocks import BlockStream
from airflow_elt_provider.formats.csv_sieve import Ending
from airflow_elt_provider.formats.dialect import Dialect
from airflow_elt_provider.formats.fields import read_text
from airflow_elt_provider.formats.guess_nulls import NEVER_A_WORD
from airflow_elt_provider.formats.guess_report import Guess
from airflow_elt_provider.formats.text_file import as_text, text_blocks

if TYPE_CHECKING:
    from typing import TextIO

_BLOCK_BYTES: Final = 4 << 20
LED_BY_ZERO: Final = r"^[+-]?0[0-9xX]"
"""A number that would come out as another text, or is none: 007, 0x1F."""
_LEADS: Final = (re.compile(rb"dz[zn]"), re.compile(rb"dmz[zn]"))
"""Beginnings of fields, as :func:`_classes` writes them, that are a zero before something else."""
_TRUE: Final = ["true", "True", "TRUE", "t"]
_FALSE: Final = ["false", "False", "FALSE", "f"]


class _OddError(Exception):
    """Something is not as Arrow alone could tell."""


@dataclass(frozen=True)
class Fast:
    """A file and a guess.

    Where fields begin with zeros, numbers are read as texts, and looked at.
    """

    path: Path
    guess: Guess

    @classmethod
    def of(cls, path: Path, guess: Guess) -> Fast | None:
        """Return a check of that kind; None where Arrow does not read files like this."""
        form = whole_form(guess)
        if form.type != "csv" or Dialect(form).odd:
            return None
        return cls(path, guess)

    def rows(self) -> int | None:
        """Return how many rows there are if all of them fit; None where it has to be looked at carefully."""
        for exact in (False, True):
            watch = _ZeroWatch(self._form, give_up=not exact)
            try:
                return self._read(watch, exact=exact)
            except _OddError:
                continue
            except (pa.ArrowInvalid, pa.ArrowKeyError):
                if not watch.seen:
                    return None
        return None

    @cached_property
    def _form(self) -> FileFormat:
        return whole_form(self.guess)

    def _read(self, watch: _ZeroWatch, *, exact: bool) -> int:
        form, count = self._form, 0
        blocks = text_blocks(self.path, form)
        # One field too many: it is skipped where it is seen, and not seen where a quote is open.
        ending = Ending(f"\x1a{secrets.token_hex(8)}\x1a" + form.delimiter * len(self._wanted))
        read: Any = pacsv.open_csv
        with closing(BlockStream(watch.passing(blocks) if not exact else blocks, partial(_ended, ending))) as source:
            types = self._types(exact=exact)
            for batch in read(source, *self._options(types, ending)):
                for name, array in zip(batch.schema.names, batch.columns, strict=True):
                    self._look(name, array, exact=exact)
                count += batch.num_rows
        if not ending.seen:
            raise pa.ArrowInvalid("a quote is never closed")
        return count

    def _types(self, *, exact: bool) -> dict[str, pa.DataType]:
        return {
            name: kind if not form and _native(kind) and not (exact and _number(kind)) else pa.string()
            for name, (kind, form) in self._wanted.items()
        }

    def _look(self, name: str, array: pa.Array[Any], *, exact: bool) -> None:
        """Refuse what Arrow alone does not see. :raises pa.ArrowInvalid: for that."""
        kind, form = self._wanted[name]
        if name in self.guess.left_out:
            _refuse_any(filled(array))
        elif pa.types.is_string(kind):
            words = word_markers(self._form)
            _refuse_any(pc.is_in(array, value_set=pa.array(words, pa.string())) if words else pa.array([], pa.bool_()))
        elif array.type != kind:
            read_text(self._without_markers(array), kind, form)
            if exact and _number(kind):
                _refuse_any(pc.match_substring_regex(array, LED_BY_ZERO))

    def _without_markers(self, array: pa.Array[Any]) -> pa.Array[Any]:
        if not any(self._form.null_values):
            return array
        marked: Any = pc.is_in(array, value_set=pa.array(list(self._form.null_values), pa.string()))
        values: pa.Array[Any] = pc.if_else(marked, pa.scalar(None, pa.string()), array)
        return values

    @cached_property
    def _wanted(self) -> dict[str, tuple[pa.DataType, str]]:
        found = {one.name: (parse_type(one.type), one.time_format) for one in self.guess.columns}
        return {**found, **dict.fromkeys(self.guess.left_out, (pa.string(), ""))}

    def _options(self, types: dict[str, pa.DataType], ending: Ending) -> Sequence[Any]:
        form, escape = self._form, Dialect(self._form).escape
        names = None if form.header else list(form.columns)
        marked = any(form.null_values)
        return (
            pacsv.ReadOptions(block_size=_BLOCK_BYTES, skip_rows=form.skip_lines, column_names=names),
            pacsv.ParseOptions(
                delimiter=form.delimiter, quote_char=form.quote or False, double_quote=not escape,
                escape_char=escape or False, newlines_in_values=self.guess.wrapped, ignore_empty_lines=len(types) > 1,
                invalid_row_handler=ending,
            ),
            pacsv.ConvertOptions(
                true_values=_TRUE, false_values=_FALSE, column_types=types,
                include_columns=list(types), null_values=list(form.null_values),
                strings_can_be_null=not marked, quoted_strings_can_be_null=form.quoted_nulls or not marked,
            ),
        )  # fmt: skip


def _ended(ending: Ending, last: bytes) -> bytes:
    return (b"" if last in {b"", b"\r", b"\n"} else b"\n") + ending.text.encode() + b"\n"


def filled(texts: Any) -> Any:
    """Return which texts are not empty; NULL for NULL."""
    return pc.not_equal(texts, pa.scalar(""))


def word_markers(form: FileFormat) -> list[str]:
    """Return what means NULL and may be a word in a column of texts all the same."""
    return [marker for marker in form.null_values if marker and marker not in NEVER_A_WORD]


def _refuse_any(found: Any) -> None:
    if pc.any(found).as_py():
        raise pa.ArrowInvalid("something would not come out as it stands")


def whole_form(guess: Guess) -> FileFormat:
    """Return the format with what the file's name says."""
    return guess.form.of(guess.name) if guess.form.compression == "auto" else guess.form


def text_of(path: Path, guess: Guess) -> TextIO:
    """Open a file as text; what is broken in it is replaced."""
    return as_text(text_blocks(path, whole_form(guess)), errors="replace", newline="")


def _native(kind: pa.DataType) -> bool:
    """Whether Arrow reads a type from CSV, and as we do."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    )  # fmt: skip


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


class _ZeroWatch:
    """Looks for fields that begin with zeros as bytes pass by: in a number they would be lost."""

    def __init__(self, form: FileFormat, *, give_up: bool) -> None:
        self._table = _classes(form.delimiter + (form.quote or "") + "\r\n")
        self._give_up = give_up
        self.seen = False

    def passing(self, blocks: Generator[bytes]) -> Generator[bytes]:
        """Pass blocks on.

        :raises _OddError: at the first such field.
        """
        last = b"d"
        with closing(blocks):
            for block in blocks:
                told = last + block.translate(self._table)
                if any(lead.search(told) for lead in _LEADS):
                    self.seen = True
                    raise _OddError
                last = told[-3:]
                yield block


def _classes(ends: str) -> bytes:
    """Return a table that writes d for what a field begins after, z for zero, n for other digits, m for signs."""
    table = bytearray(b"." * 256)
    for signs, sign in ((b"123456789xX", b"n"), (b"0", b"z"), (b"+-", b"m"), (ends.encode(), b"d")):
        for each in signs:
            table[each] = sign[0]
    return bytes(table)
