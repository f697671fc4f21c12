"""Text becomes rows under a dialect, forgivingly, with what was quoted and what is broken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

NULL_ESCAPE: Final = r"\N"
"""How databases write NULL where a backslash is the escape."""


_CUT_LINES: Final = 50


class Dialect(NamedTuple):
    """How fields are told apart; "" for none."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    trim: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    :param quoted: which of the cells are quoted.
    :param broken: whether a quote is never closed, or something follows a closing one.
    :param start: where the row begins in the text.
    """

    cells: Sequence[str]
    quoted: Sequence[bool]
    broken: bool = False
    start: int = 0

    @property
    def blank(self) -> bool:
        """Whether it is an empty line."""
        return len(self.cells) == 1 and not self.cells[0] and not self.quoted[0]


@cache
def _pattern(dialect: Dialect) -> re.Pattern[str]:
    sign, quote, escape = (re.escape(each) for each in dialect[:3])
    end = rf"({sign}|\r\n|\r|\n|\Z)"
    plain = rf"((?:[^{sign}\r\n{escape}]++|{escape}.)*+)" if escape else rf"([^{sign}\r\n]*+)"
    if not quote:
        return re.compile(rf"()(){plain}{end}", re.DOTALL)
    # An escape that is the quote itself is a doubled quote.
    inside = rf"[^{quote}{escape}]++|{quote}{quote}" + (rf"|{escape}." if escape else "")
    blanks = "[ ]*+" if dialect.trim else ""
    return re.compile(rf"(?:{blanks}({quote}(?:{inside})*+{quote})([^{sign}\r\n]*+)|{plain}){end}", re.DOTALL)


def rows(text: str, dialect: Dialect) -> Iterator[Row]:
    """Give the rows of a text; the last one may be cut off by its end."""
    cells: list[str] = []
    quoted: list[bool] = []
    broken, start = False, 0
    for found in _pattern(dialect).finditer(text):
        whole, after, plain, end = found.groups()
        if whole:
            cells.append(_inside(whole, dialect) + (after if after.strip() else ""))
            broken = broken or bool(after.strip(" ") if dialect.trim else after)
        else:
            broken = broken or bool(dialect.quote and plain.startswith(dialect.quote))
            cells.append(_plain(plain, dialect))
        quoted.append(bool(whole))
        if end != dialect.delimiter:
            if end or len(cells) > 1 or cells[0] or quoted[0]:
                yield Row(cells, quoted, broken, start)
            cells, quoted, broken, start = [], [], False, found.end()


def without_cut(found: Sequence[Row]) -> list[Row]:
    """Return the rows of a text that is cut off somewhere, without what that made of its end."""
    kept = list(found[:-1])
    # Lines after a quote that the cut left open look like rows.
    opened = next((at for at in range(len(kept) - 1, max(-1, len(kept) - _CUT_LINES), -1) if kept[at].broken), None)
    return kept if opened is None else kept[:opened]


def _inside(whole: str, dialect: Dialect) -> str:
    text, quote = whole[1:-1], dialect.quote
    if dialect.escape:
        return _unescaped(text.replace(quote * 2, quote) if dialect.escape not in text else text, dialect)
    return text.replace(quote * 2, quote)


def _plain(text: str, dialect: Dialect) -> str:
    if dialect.trim:
        text = text.strip(" ")
    return text if text == NULL_ESCAPE else _unescaped(text, dialect)


def _unescaped(text: str, dialect: Dialect) -> str:
    if not dialect.escape or dialect.escape not in text:
        return text
    return re.sub(re.escape(dialect.escape) + "(.)", r"\1", text, flags=re.DOTALL)
