"""Rows of delimited text, whatever separates and encloses the fields."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow_elt_provider.core.file_format import FileFormat

if TYPE_CHECKING:
    from typing import TextIO

_CHUNK: Final = 1 << 16
_BLANKS: Final = " \t"


class TooLongError(ValueError):
    """A row is longer than what may be in memory."""


class Told(NamedTuple):
    """A field.

    :param quoted: whether it stands in quotes.
    :param null: whether it stands for NULL.
    :param open: whether its quote is never closed; then it is the last one of the file.
    """

    text: str
    quoted: bool = False
    null: bool = False
    open: bool = False


class Dialect:
    """How rows are told into fields.

    Two readers know all of it but differ in speed: Arrow's, and the one in here (:meth:`straight`) for what Arrow does
    not do: a delimiter or quote beyond ASCII, comments, spaces around fields, NULLs that an escape begins.
    """

    def __init__(self, form: FileFormat) -> None:
        self.form = form

    @cached_property
    def odd(self) -> bool:
        """Whether Arrow cannot read it, and rows have to be told into fields here."""
        form = self.form
        signs = (form.delimiter, form.quote, self.escape)
        escaped = bool(self.escape) and any(form.null_values)
        return form.trim or bool(form.comment) or escaped or not all(sign.isascii() for sign in signs)

    @property
    def escape(self) -> str:
        """The sign before one that is taken as it is; "" where a quote is doubled instead."""
        return "" if self.form.escape == self.form.quote else self.form.escape

    def records(self, text: TextIO, limit: int) -> Iterator[tuple[int, list[str]]]:
        """Give each row with the line where it begins; an empty line is a row without fields.

        :param limit: characters of the longest row that is read, where not Arrow reads them.
        :raises TooLongError: for a longer one.
        """
        if self.odd:
            yield from ((line, [each.text for each in told]) for line, told in self.fields(text, limit))
            return
        csv.field_size_limit(sys.maxsize)
        quoting: Any = {"quotechar": self.form.quote} if self.form.quote else {"quoting": csv.QUOTE_NONE}
        reader = csv.reader(text, delimiter=self.form.delimiter, escapechar=self.escape or None, **quoting)
        line = 1
        for row in reader:
            yield line, row
            line = reader.line_num + 1

    def fields(
        self, text: TextIO, limit: int, comment: Callable[[int, str], None] | None = None
    ) -> Iterator[tuple[int, list[Told]]]:
        """Give each row's fields with the line where the row begins; no comments.

        What follows a closing quote is part of the field, as Arrow has it. A quote that is never closed reaches to the
        end of the text.

        :param comment: is told each comment, with its line.
        :raises TooLongError: for a row of more characters.
        """
        held, at, line, done = "", 0, 1, False
        while True:
            row, end = self._row(held, at, done=done)
            if row is not None:
                if row or not self._is_comment(held, at):
                    yield line, row
                elif comment:
                    comment(line, held[at:end])
                line += self._breaks(held, at, end)
                at = end
            elif done:
                return
            else:
                held, at = held[at:], 0
                if len(held) > limit:
                    raise TooLongError
                more = text.read(max(_CHUNK, len(held)))
                done = not more
                held += more

    def straight(self, text: TextIO, columns: int, limit: int) -> Iterator[str]:
        """Give the rows as plain CSV: commas, doubled quotes, NULLs as nothing.

        :param columns: how many the rows should have.
        """
        for _, row in self.fields(text, limit):
            if not row:
                yield "\n" if columns > 1 or "" in self._nulls else '""\n'
            elif len(row) == 1 != columns and not row[0].open:
                yield f"{_quoted(row[0].text)}\n"  # one NULL would be an empty line, which is none
            else:
                yield ",".join(map(_straight, row)) + ("" if row[-1].open else "\n")

    # --- inside ---

    @cached_property
    def _nulls(self) -> frozenset[str]:
        return frozenset(self.form.null_values)

    def _row(self, held: str, at: int, *, done: bool) -> tuple[list[Told] | None, int]:
        """Return a row and where it ends; None where the text in hand does not hold it whole."""
        if at >= len(held):
            return None, at
        if self._is_comment(held, at):
            found = _LINE.match(held, at)
            return ([], found.end()) if found and (done or found.end() < len(held)) else (None, at)
        row: list[Told] = []
        place = at
        while found := self._field.match(held, place):
            if found.end() == len(held) and not done:
                return None, at
            row.append(self._told(found))
            place = found.end()
            if found["end"] != self.form.delimiter:
                break
        else:
            # A quote that nobody closes: the rest of the text is one field.
            rest = held[place:].lstrip(_BLANKS) if self.form.trim else held[place:]
            return ([*row, Told(rest[1:], quoted=True, open=True)], len(held)) if done else (None, at)
        empty = len(row) == 1 and not row[0].text and not row[0].quoted
        return [] if empty else row, place

    def _told(self, found: re.Match[str]) -> Told:
        quoted, rest = found["quoted"], found["rest"]
        if quoted is None:
            rest = rest.strip(_BLANKS) if self.form.trim else rest
            null = rest in self._nulls
            return Told(rest if null else self._plain(rest), null=null)
        rest = rest.rstrip(_BLANKS) if self.form.trim else rest
        text = self._plain(quoted, doubled=True) + self._plain(rest)
        return Told(text, quoted=True, null=self.form.quoted_nulls and text in self._nulls)

    def _plain(self, text: str, *, doubled: bool = False) -> str:
        """Return what text means whose signs are escaped, or doubled."""
        quote = self.form.quote
        if not self.escape:
            return text.replace(quote * 2, quote) if doubled else text
        pattern = self._doubled if doubled else self._escaped
        return pattern.sub(lambda found: found[1] or quote, text)

    @cached_property
    def _escaped(self) -> re.Pattern[str]:
        return re.compile(f"{re.escape(self.escape)}(.)", re.DOTALL)

    @cached_property
    def _doubled(self) -> re.Pattern[str]:
        return re.compile(f"{re.escape(self.escape)}(.)|{re.escape(self.form.quote * 2)}", re.DOTALL)

    @cached_property
    def _field(self) -> re.Pattern[str]:
        delimiter, quote, escape = (re.escape(sign) for sign in (self.form.delimiter, self.form.quote, self.escape))
        blanks = (
            "[" + "".join(sign for sign in _BLANKS if sign != self.form.delimiter) + "]*+" if self.form.trim else ""
        )
        escaped = f"|{escape}." if escape else ""
        rest = f"(?P<rest>(?:[^{delimiter}{escape}\\r\\n]{escaped})*+)(?P<end>{delimiter}|\\r\\n|\\r|\\n|\\Z)"
        if not quote:
            return re.compile(f"(?P<quoted>(?!))?{rest}", re.DOTALL)
        inside = f"(?P<quoted>(?:[^{quote}{escape}]{escaped}|{quote}{quote})*+){quote}"
        return re.compile(f"(?:{blanks}{quote}{inside}|(?!{blanks}{quote})){rest}", re.DOTALL)

    def _is_comment(self, held: str, at: int) -> bool:
        return bool(self.form.comment) and held.startswith(self.form.comment, at)

    @staticmethod
    def _breaks(held: str, start: int, end: int) -> int:
        """Return how many lines end in a part of the text."""
        lines = held.count("\n", start, end)
        if held.find("\r", start, end) >= 0:
            lines += held.count("\r", start, end) - held.count("\r\n", start, end)
        return lines


_LINE: Final = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_SPECIAL: Final = re.compile(r'[",\r\n]')


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _straight(field: Told) -> str:
    if field.null:
        return ""
    if field.open:
        return _quoted(field.text)[:-1]
    return field.text if field.text and not field.quoted and not _SPECIAL.search(field.text) else _quoted(field.text)


def without_lines(blocks: Generator[bytes], count: int) -> Generator[bytes]:
    """Give text without its first lines."""
    with closing(blocks):
        held = b""
        for block in blocks:
            held += block
            # A line that ends with what is in hand may end in two signs.
            while (found := _END_OF_LINE.search(held)) and found.end() < len(held):
                held, count = held[found.end() :], count - 1
                if not count:
                    yield held
                    yield from blocks
                    return
            held = held[found.start() if found else -1 :]


_END_OF_LINE: Final = re.compile(rb"\r\n|\r|\n")
