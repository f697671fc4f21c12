"""Which characters tell fields apart: the reading that makes the most even rows of the cleanest cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from airflow_elt_provider.formats.guess_rows import Dialect, Row, rows, without_cut
from airflow_elt_provider.formats.guess_values import is_document

_WEIGHTS: Final = {",": 1.0, "\t": 1.0, ";": 0.98, "|": 0.97, "\x01": 0.97, "^": 0.8, "~": 0.8, ":": 0.5, " ": 0.5}
"""Delimiters that are tried, and how much is made of each."""
_LOOKED_AT: Final = 64 << 10
_MAX_PREAMBLE: Final = 20
_RARE: Final = 0.5
"""A delimiter stands in at least so many of the lines."""
_TYPED: Final = re.compile(
    r"[+-]?[\d.,]*\d(?:[eE][+-]?\d+)?%?|\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?:[ T].*)?|\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?"
    r"|[0-9a-fA-F-]{36}|(?i:true|false)|\\N|[+(]?\d[\d ()-]{6,}"
)
_FOREIGN: Final = re.compile(r"[;\t|\x01]|,(?! )")
_NEWLINE: Final = re.compile(r"\r\n|\r|\n")
_SINGLE_QUOTED: Final = re.compile(r"(?:^|[,\t;|])'(?:[^'\r\n]|'')*'(?=[,\t;|\r\n]|$)", re.MULTILINE)
_QUOTED: Final = re.compile(r'"[^"]*"')
_NAME: Final = re.compile(r"#\w+")
_ODD_ESCAPE: Final = re.compile(r"\\[^\"'\\,;|\tN]")
_TOLD: Final = re.compile(r"sep=([^\r\n])\r?\n")
"""What Excel wants as the first line where the delimiter is not the country's own."""
_NEVER_WRITTEN: Final = "\x1f"
"""ASCII's own separator of fields, for a file of one column in which every other one occurs."""


@dataclass(frozen=True)
class Reading:
    """A dialect, and what a text is in it.

    :param width: fields of most rows.
    :param even: share of the rows that have so many.
    :param first: number of the row that is the header, or the first one of the data.
    """

    dialect: Dialect
    score: float
    width: int
    even: float
    first: int = 0
    comment: str = ""
    found: Sequence[Row] = field(default=(), repr=False)


def guess_dialect(text: str, *, whole: bool) -> tuple[Reading, float]:
    """Return the best reading and how sure it is, 0 to 1.

    :param whole: whether the text ends where a row ends.
    """
    head = text[:_LOOKED_AT]
    cut = not whole or len(text) > _LOOKED_AT
    readings = [_read(head, dialect, cut=cut) for dialect in _candidates(head)]
    best = max(readings, key=lambda one: one.score)
    rivals = [one.score for one in readings if one.dialect.delimiter != best.dialect.delimiter and one.width > 1]
    sure = best.even * (1 - 0.4 * max(rivals, default=0.0) / best.score) if best.score else 0.3
    if best.width == 1:
        best = _single(best, text)
        sure = min(sure, 0.9)
    return best, round(min(0.99, sure), 2)


def refuted(reading: Reading, texts: Sequence[str], *, whole: bool) -> Reading:
    """Return the reading without comments where some of them are rows, further down than it was looked at."""
    if not reading.comment:
        return reading
    found = [list(rows(text, reading.dialect)) for text in texts]
    if _comment([row for piece in found for row in piece]):
        return reading
    cut = not whole or len(texts[0]) > _LOOKED_AT
    return _read(texts[0][:_LOOKED_AT], reading.dialect, cut=cut, commented=False)


def newline_of(text: str) -> str:
    """Return ``LF``, ``CRLF`` or ``CR``: what ends most lines."""
    counted = Counter(_NEWLINE.findall(text[:_LOOKED_AT]))
    return {"\r\n": "CRLF", "\r": "CR"}.get(counted.most_common(1)[0][0] if counted else "\n", "LF")


def lines_before(text: str, start: int) -> int:
    """Return how many lines end before a place."""
    return len(_NEWLINE.findall(text[:start]))


def _candidates(head: str) -> Iterator[Dialect]:
    if told := _TOLD.match(head):
        yield Dialect(told[1])
        return
    delimiters = [sign for sign in _WEIGHTS if sign in _often(head) | _often(_QUOTED.sub("", head))]
    if not set(delimiters) - set(" :"):
        delimiters.append(",")  # one column, of times or prose
    quotes = ['"', ""] if '"' in head else ['"']
    if _SINGLE_QUOTED.search(head):
        quotes.append("'")
    escapes = ["", "\\"] if re.search(r"\\[\"'\\,;|\t]", head) else [""]
    for delimiter, quote, escape in product(delimiters, quotes, escapes):
        yield Dialect(delimiter, quote, escape)
        if quote and f"{delimiter} {quote}" in head and delimiter != " ":
            yield Dialect(delimiter, quote, escape, trim=True)


def _often(text: str) -> set[str]:
    """Return the delimiters that stand in enough of the lines."""
    lines = [line for line in _NEWLINE.split(text) if line]
    return {sign for sign in _WEIGHTS if sum(sign in line for line in lines) >= max(1, _RARE * len(lines))}


def _read(head: str, dialect: Dialect, *, cut: bool, commented: bool = True) -> Reading:
    found = list(rows(head, dialect))
    if cut and len(found) > 1:
        found = without_cut(found)
    comment = _comment(found) if commented else ""
    kept = [row for row in found if not _is_comment(row, comment)]
    full = [row for row in kept if not row.blank]
    if not full:
        return Reading(dialect, 0.0, 1, 0.0)
    width = _width(full)
    told = int(bool(_TOLD.match(head)))  # Excel's line is no row, however wide
    first = next((at for at, row in enumerate(full[: _MAX_PREAMBLE + 1]) if at >= told and len(row.cells) == width
                  and not (width == 1 and row.cells[0].startswith("# "))), 0)  # fmt: skip
    body = full[first:]
    even = sum(len(row.cells) == width for row in body) / len(body)
    score = _score(dialect, body, width, even) * (1 - 0.02 * first)
    if first > told and len(full[first - 1].cells) > width:
        score /= 2  # a header of more names: the rows have as many fields
    return Reading(dialect, score, width, even, kept.index(full[first]), comment, kept)


def _width(found: Sequence[Row]) -> int:
    counted = Counter(len(row.cells) for row in found)
    most = max(counted.values())
    return max(width for width, count in counted.items() if count == most)


def _score(dialect: Dialect, body: Sequence[Row], width: int, even: float) -> float:
    cells = [(cell, quoted) for row in body for cell, quoted in zip(row.cells, row.quoted, strict=True)]
    clean = sum(_clean(cell, dialect, quoted=quoted) for cell, quoted in cells) / len(cells)
    broken = sum(row.broken for row in body) / len(body)
    odd = 0.1 * bool(dialect.escape and any(_ODD_ESCAPE.search(cell) for cell, _ in cells))
    if width == 1:
        typed = sum(bool(_TYPED.fullmatch(cell)) for cell, _ in cells) / len(cells)
        return (0.25 + 0.5 * typed) * (1 - broken)
    if dialect.delimiter in " :" and (width < 3 or even < 1):  # noqa: PLR2004 - prose and times have one or two
        return 0.0
    used = bool(dialect.quote and any(quoted for _, quoted in cells))
    return (
        even**2
        * clean
        * (1 - 0.5 / width)
        * _WEIGHTS[dialect.delimiter]
        * (1 - broken)
        * (1 + 0.1 * used + 0.01 * (not dialect.quote))
        - odd
    )


def _clean(cell: str, dialect: Dialect, *, quoted: bool) -> float:
    """Say how much a text is like one cell."""
    if cell[:1] + cell[-1:] in {"{}", "[]"}:
        return 1.0 if is_document(cell) else 0.4
    if not cell and not quoted:
        return 0.6
    if quoted or _TYPED.fullmatch(cell):
        return 1.0
    if cell[0] in "\"'" or cell[-1] in "\"'":
        return 0.1
    escaped = dialect.escape and dialect.escape in cell
    return 0.5 if escaped else 0.3 if _FOREIGN.search(cell) else 0.8


def _comment(found: Sequence[Row]) -> str:
    """Return ``#`` where lines begin with it that are no rows: before the header, or not as wide as a row."""
    full = [row for row in found if not row.blank]
    marked = [_is_comment(row, "#") for row in full]
    if all(marked) or not any(marked):
        return ""
    first = marked.index(False)
    width = _width([row for row, sign in zip(full, marked, strict=True) if not sign])
    as_wide = [at for at, row in enumerate(full) if marked[at] and len(row.cells) == width]
    if any(at > first for at in as_wide) or sum(marked[first:]) > marked.count(False):
        return ""
    # One line like that, right before the others: a header that begins with #.
    named = width > 1 or bool(_NAME.fullmatch(full[first - 1].cells[0]))
    return "" if named and as_wide[-1:] == [first - 1] and (len(as_wide) == 1 or width == 1) else "#"


def _is_comment(row: Row, comment: str) -> bool:
    return bool(comment) and not row.quoted[0] and row.cells[0].startswith(comment)


def _single(best: Reading, text: str) -> Reading:
    """Give a file of one column a delimiter that does not occur in it."""
    sign = next((sign for sign in (",", "\t", "|", ";") if sign not in text), _NEVER_WRITTEN)
    dialect = best.dialect._replace(delimiter=sign)
    again = _read(text[:_LOOKED_AT], dialect, cut=False)
    return Reading(dialect, best.score, 1, 1.0, again.first, again.comment, again.found)
