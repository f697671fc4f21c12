"""Whether the first row names the columns, and names that can be used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.formats.guess_charset import Charset, decoded
from airflow_elt_provider.formats.guess_column import guess_type
from airflow_elt_provider.formats.guess_nulls import MARKERS, Cells
from airflow_elt_provider.formats.guess_rows import Dialect, Row, rows
from airflow_elt_provider.formats.guess_sample import Sample

UNNAMED: Final = "_empty"
"""What the column behind a delimiter at the end of each line is called; it is left out."""
_WORDS: Final = re.compile(
    r"(?:^|[_\s\W])(?:id|no|name|code|type|date|time|at|email|mail|address|city|country|state|status|price|amount|qty"
    r"|quantity|count|total|value|key|title|description|comment|url|zip|phone|tel|age|sex|gender|category|flag|num"
    r"|number|day|month|year|lat|lon|latitude|longitude|user|customer|product|order|created|updated|account|note|first"
    r"|last|lang|currency|version|uuid)(?:$|[_\s\W])"
    r"|名|住所|電話|番号|コード|日付|年月|日時|金額|価格|数量|都道府県|市区|区分|種別|単価|合計|備考|性別|年齢|件数|国|所在地"
    r"|緯度|経度|カナ|かな|メール|キー|列|項目|郵便|状態|氏", re.IGNORECASE,
)  # fmt: skip
_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*(?:[ ._/:-]\w+)*\??|#?[^\W\d]\w*|[^\W\d]\w* ?\([^)]*\)")
_DATA: Final = re.compile(r"[+-]?[\d.,]*\d[%\d]*|.*[@].*\..*|\d{2,4}([-/.:])\d{1,2}\1\d{1,4}.*|[+(\d][\d ()-]{6,}")
_FLOATING: Final = re.compile(r"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.IGNORECASE)
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_FEWEST_YEARS: Final = 2
_LONGEST: Final = 60
_COMPARED: Final = 500
"""Rows that the first one is compared with."""


@dataclass(frozen=True)
class Header:
    """The names of the columns.

    :param found: whether the first row names them.
    :param names: unique, none of them empty.
    :param usable: whether the file's own header can be used as it is.
    """

    found: bool
    confidence: float
    why: str
    names: tuple[str, ...]
    usable: bool = True
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def first_row(sample: Sample, form: FileFormat) -> Sequence[str]:
    """Return the cells of a file's header, or of its first row, as a format reads it; none of an empty file."""
    head = decoded(sample, Charset(form.charset, 1.0, ""))[0]
    text = "".join(head.splitlines(keepends=True)[form.skip_lines :])
    for row in rows(text, Dialect(form.delimiter, form.quote, form.escape, form.trim)):
        if not row.blank and not (form.comment and row.cells[0].startswith(form.comment)):
            return row.cells
    return ()


def guess_header(body: Sequence[Row], width: int) -> Header:
    """Guess from the rows of most width, and the one before them, whether the first is a header."""
    first, rest = body[0], [row for row in body[1:] if len(row.cells) == width]
    found, confidence, why = _is_header(first, rest[:_COMPARED])
    if not found:
        names = tuple(f"column_{number}" for number in range(1, width + 1))
        return _tailed(Header(False, confidence, why, names), rest, first)  # noqa: FBT003 - one line of a few
    warnings, names = _usable(first.cells, width)
    header = Header(True, confidence, why, names, not warnings, tuple(warnings))  # noqa: FBT003
    return _tailed(header, rest, first)


def _is_header(first: Row, rest: Sequence[Row]) -> tuple[bool, float, str]:
    cells = [cell.strip() for cell in first.cells]
    named = [cell for cell in cells if cell]
    if not named:
        return False, 0.9, "the first row is empty"
    if _over_years(cells, rest):
        return True, 0.85, "it names years, above numbers that are none"
    data = next((cell for cell in named if _DATA.fullmatch(cell) or cell in MARKERS), None)
    if data is not None and not _mostly_names(named, rest):
        return False, 0.95, f"the first row holds values, such as {data[:40]!r}"
    if not rest:
        return True, 0.5, "there is no other row: it is taken for the names"
    return _compared(cells, named, rest)


def _compared(cells: Sequence[str], named: Sequence[str], rest: Sequence[Row]) -> tuple[bool, float, str]:
    """Hold the first row against the others."""
    typed = again = shaped = 0
    for at, cell in enumerate(cells):
        others = Cells.of("", ((row.cells[at], False) for row in rest if at < len(row.cells)))
        values = others.without(MARKERS) or others.without(())
        typed += bool(values) and _has_type(cell, values.keys())
        again += bool(cell) and values.get(cell, 0) > 0
        shaped += _other_shape(cell, values.keys()) if values else bool(cell)  # a name above nothing
    if typed and not again:
        return (
            True,
            round(min(0.99, 0.9 + 0.03 * typed), 2),
            (f"below it {typed} column{'s have' if typed > 1 else ' has'} values of a type that it is not of"),
        )
    words = sum(bool(_WORDS.search(cell)) for cell in named)
    if again and again >= max(1, words):
        return False, 0.85, "its values occur again below it"
    names = sum(bool(_IDENTIFIER.fullmatch(cell)) for cell in named)
    if words * 2 >= len(named) or (words and shaped):
        return True, 0.9, f"all columns are text, and it reads like names: {words} of {len(named)} are usual ones"
    if shaped * 2 >= len(named):
        return True, 0.75, "all columns are text, and it is of another form than the values below it"
    if names == len(named) and len(set(named)) == len(named) and len(named) > 1:
        return True, 0.55, "all columns are text, and it could be names: look whether it is"
    return False, 0.6, "all columns are text, and it looks like the rows below it"


def _mostly_names(named: Sequence[str], rest: Sequence[Row]) -> bool:
    """Whether a row with a number in it reads like names all the same: id, name, 2024, 2025."""
    words = sum(bool(_WORDS.search(cell)) for cell in named)
    years = sum(bool(_YEAR.fullmatch(cell)) for cell in named)
    return bool(rest) and words > 0 and words + years == len(named)


def _over_years(cells: Sequence[str], rest: Sequence[Row]) -> bool:
    """Whether a row holds words and years, and numbers of other size stand below the years: region, 2020, 2021."""
    years = [at for at, cell in enumerate(cells) if _YEAR.fullmatch(cell)]
    others = [cell for cell in cells if not _YEAR.fullmatch(cell)]
    if not years or not rest or any(not cell or _DATA.fullmatch(cell) or cell in MARKERS for cell in others):
        return False
    named = [int(cells[at]) for at in years]
    if not others or [*range(named[0], named[0] + len(named))] != named or len(named) < _FEWEST_YEARS:
        return False
    below = [row.cells[at] for row in rest for at in years if row.cells[at] not in ("", *MARKERS)]
    return bool(below) and all(_DATA.fullmatch(value) and not _YEAR.fullmatch(value) for value in below)


def _has_type(cell: str, values: Collection[str]) -> bool:
    """Whether values are of a type, and a text is not of it."""
    guess = guess_type("", Counter(values))
    if guess.is_text:
        return all(map(_data, values)) and not _data(cell) and any(value[-1:].isdecimal() for value in values)
    return bool(cell) and guess_type("", Counter([cell, *values])).is_text


def _data(text: str) -> bool:
    return bool(_DATA.fullmatch(text) or _FLOATING.fullmatch(text))


def _other_shape(cell: str, values: Collection[str]) -> bool:
    shapes = {_shape(value) for value in values}
    return bool(cell) and _shape(cell) not in shapes and len(cell) <= _LONGEST


def _shape(text: str) -> str:
    """Return what kinds of characters a text has: capitals, small letters, digits, signs."""
    kinds = re.sub(r"\s", "_", re.sub(r"[^\W\d_]", lambda one: _letter(one[0]), re.sub(r"\d", "9", text)))
    return re.sub(r"(.)\1+", r"\1", kinds)


def _letter(sign: str) -> str:
    if "ぁ" <= sign <= "ヿ" or "一" <= sign <= "鿿":
        return "漢"
    return "A" if sign.isupper() else "a"


def _usable(cells: Sequence[str], width: int) -> tuple[list[str], tuple[str, ...]]:
    """Return what is wrong with a header, and names that are right."""
    names = [*cells, *[""] * (width - len(cells))]
    warnings = []
    twice = sorted({name for name in names if name and names.count(name) > 1})
    empty = [at + 1 for at, name in enumerate(names) if not name]
    if twice:
        warnings.append(f"the header names {', '.join(map(repr, twice))} more than once: columns= gives them numbers")
    if empty:
        warnings.append(f"the header has no name for column {', '.join(map(str, empty))}: columns= gives one")
    given: list[str] = []
    for at, name in enumerate(names):
        wanted, number = name or f"column_{at + 1}", 1
        while wanted in given or (number > 1 and wanted in names):
            number += 1
            wanted = f"{name or f'column_{at + 1}'}_{number}"
        given.append(wanted)
    return warnings, tuple(given)


def _tailed(header: Header, rest: Sequence[Row], first: Row) -> Header:
    """Leave out the column that a delimiter at the end of every line makes."""
    rows = [*rest, first] if len(first.cells) == len(header.names) else rest
    if len(header.names) < 2 or not rest or any(row.cells[-1] or row.quoted[-1] for row in rows):  # noqa: PLR2004
        return header
    others = tuple(one for one in header.warnings if "no name for column" not in one or "," in one.partition(":")[0])
    told = "every row ends with a delimiter: the empty column behind it is left out"
    return Header(
        header.found, header.confidence, header.why, (*header.names[:-1], UNNAMED), usable=False,
        warnings=(*others, told), left_out=(UNNAMED,),
    )  # fmt: skip
