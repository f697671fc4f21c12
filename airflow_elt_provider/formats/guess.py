"""How the rows stand in a file, guessed from a sample, with how sure each answer is and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats.foreign import refuse_binary, refuse_foreign
from airflow_elt_provider.formats.guess_charset import Charset, decoded, guess_charset
from airflow_elt_provider.formats.guess_column import TEXT, ColumnGuess
from airflow_elt_provider.formats.guess_dialect import Reading, guess_dialect, lines_before, newline_of, refuted
from airflow_elt_provider.formats.guess_header import UNNAMED, Header, guess_header
from airflow_elt_provider.formats.guess_jsonl import begins_jsonl, is_jsonl, jsonl_columns, refuse_document
from airflow_elt_provider.formats.guess_nulls import Cells, Nulls, guess_nulls
from airflow_elt_provider.formats.guess_report import Certain, Guess
from airflow_elt_provider.formats.guess_rows import Row, rows, without_cut
from airflow_elt_provider.formats.guess_sample import Sample

_TRIES: Final = 12
"""How many lines of a piece are tried as the beginning of a row: it may begin inside of quotes."""
_BREAK: Final = re.compile(r"\r\n|\r|\n")
_DOUBTFUL: Final = 0.5
_ALMOST_ALL: Final = 0.98
_PARQUET: Final = b"PAR1"


@dataclass(frozen=True)
class _Table:
    """A delimited text, read."""

    reading: Reading
    sure: float
    header: Header
    skip_lines: int
    body: Sequence[Row]
    odd: int


def guess(sample: Sample, name: str) -> Guess:
    """Guess how a file is written.

    :param name: of the file, for what its end tells and for messages.
    :raises DataError: for a file that is empty, or no text.
    """
    if sample.head.startswith(_PARQUET):
        return _parquet(name, sample)
    if not any(piece.data.strip() for piece in sample.pieces):
        raise DataError(f"{name} is empty.", hint="name a file with rows in it")
    charset = guess_charset(sample)
    refuse_foreign(name, sample.head, marked=charset.marked or charset.name.startswith("utf-16"))
    if not charset.name.startswith(("utf-16", "utf-32")):
        refuse_binary(name, sample.head)
    texts = decoded(sample, charset)
    facts = {"compression": _compression(sample), "charset": Certain(charset.name, charset.confidence, charset.why)}
    if is_jsonl(texts[0], whole=sample.whole) or (_named_jsonl(name) and begins_jsonl(texts[0])):
        return _of_jsonl(name, sample, charset, texts, facts)
    refuse_document(name, texts[0], named=_named_jsonl(name))
    whole = len(texts) == 1 and sample.pieces[0].last
    reading, sure = guess_dialect(texts[0], whole=whole)
    table = _table(sample, texts, refuted(reading, texts, whole=whole), sure)
    columns = [Cells.of(column, ((row.cells[at], row.quoted[at]) for row in table.body))
               for at, column in enumerate(table.header.names)]  # fmt: skip
    nulls = guess_nulls(columns)
    facts |= _facts(texts[0], table, nulls)
    return Guess(
        name, _form(name, sample, charset, table, nulls), [one for one in nulls.columns if one.name != UNNAMED], facts,
        [*table.header.warnings, *nulls.warnings, *_warnings(charset, table)], table.header.left_out, len(table.body),
        any("\n" in cell or "\r" in cell for row in table.body for cell in row.cells),
    )  # fmt: skip


def _named_jsonl(name: str) -> bool:
    try:
        return FileFormat("auto").of(name).type == "jsonl"
    except ConfigurationError:
        return False


# --- rows ---


def _table(sample: Sample, texts: Sequence[str], reading: Reading, sure: float) -> _Table:
    head = texts[0]
    if not reading.dialect.trim and _padded(reading):
        reading = replace(reading, dialect=reading.dialect._replace(trim=True))
    found = [row for row in rows(head, reading.dialect) if not _comment(row, reading)]
    if not sample.pieces[0].last and len(found) > 1:
        found = without_cut(found)
    first = min(reading.first, len(found) - 1)
    body = [row for row in found[first:] if not row.blank or reading.width == 1]
    # A delimiter at the end of each row but not of the header makes it one column shorter.
    if first and len(found[first - 1].cells) == reading.width - 1 and not any(row.cells[-1] for row in body):
        body.insert(0, found[first - 1])
    others = [row for piece, text in zip(sample.pieces[1:], texts[1:], strict=True)
              for row in _aligned(text, reading, last=piece.last)]  # fmt: skip
    header = guess_header([*body, *others], reading.width)
    rest = [*(body[1:] if header.found else body), *others]
    kept = [row for row in rest if len(row.cells) == reading.width and not row.broken]
    odd = sum(not row.blank for row in rest) - sum(not row.blank for row in kept)
    return _Table(reading, sure, header, _skipped(head, found, body, header), kept, odd)


def _skipped(head: str, found: Sequence[Row], body: Sequence[Row], header: Header) -> int:
    """Return how many lines stand before the header, or the first row; with a header that cannot be used, after it."""
    start = body[0].start
    before = [row for row in found if row.start < start and not row.blank]
    if header.found and not header.usable:
        start = body[1].start if len(body) > 1 else len(head)
    elif not before:  # comments and empty lines are left out anyway
        return 0
    return lines_before(head, start)


def _aligned(text: str, reading: Reading, *, last: bool) -> list[Row]:
    """Return the rows of a piece that begins and ends somewhere."""
    best: list[Row] = []
    share = -1.0
    starts = [0, *(found.end() for found, _ in zip(_BREAK.finditer(text), range(_TRIES), strict=False))]
    for start in starts:
        found = [row for row in rows(text[start:], reading.dialect) if not row.blank and not _comment(row, reading)]
        found = found if last else without_cut(found)
        good = [row for row in found if len(row.cells) == reading.width and not row.broken]
        if found and len(good) / len(found) > share:
            best, share = found, len(good) / len(found)
        if share == 1:
            break
    return best


def _comment(row: Row, reading: Reading) -> bool:
    return bool(reading.comment) and not row.quoted[0] and row.cells[0].startswith(reading.comment)


def _padded(reading: Reading) -> bool:
    """Whether a space follows the delimiters, as people write."""
    cells = [cell for row in reading.found for cell, quoted in zip(row.cells[1:], row.quoted[1:], strict=True)
             if not quoted and cell]  # fmt: skip
    return bool(cells) and sum(cell.startswith(" ") for cell in cells) >= _ALMOST_ALL * len(cells)


# --- what is said ---


def _form(name: str, sample: Sample, charset: Charset, table: _Table, nulls: Nulls) -> FileFormat:
    dialect, header = table.reading.dialect, table.header
    named = header.found and header.usable
    return FileFormat(
        type="csv", compression=_said_compression(name, sample, "csv"), charset=charset.name,
        delimiter=dialect.delimiter, quote=dialect.quote, escape=dialect.escape, header=named,
        columns=() if named else header.names, skip_lines=table.skip_lines, null_values=nulls.values,
        quoted_nulls=nulls.quoted, trim=dialect.trim, comment=table.reading.comment,
        time_formats={one.name: one.time_format for one in nulls.columns if one.time_format},
    )  # fmt: skip


def _said_compression(name: str, sample: Sample, kind: str) -> str:
    """Return what to say: nothing where the name tells the truth."""
    try:
        told = FileFormat(kind).of(name).compression
    except ConfigurationError:
        told = ""
    return "auto" if told == sample.compression else sample.compression


def _compression(sample: Sample) -> Certain:
    why = "the file begins like that" if sample.compression != "none" else "it does not begin like a compressed file"
    return Certain(sample.compression, 1.0, why)


def _facts(head: str, table: _Table, nulls: Nulls) -> dict[str, Certain]:
    reading, dialect, header = table.reading, table.reading.dialect, table.header
    quoted = any(any(row.quoted) for row in reading.found)
    many = f"{reading.width} fields in {reading.even:.0%} of the rows"
    if reading.width == 1:
        many = "there is one column only: any character that it does not hold will do"
    return {
        "newline": Certain(newline_of(head), 0.95, "what most lines end with; all three are understood"),
        "delimiter": Certain(dialect.delimiter, table.sure, many),
        "quote": Certain(dialect.quote, 0.95 if quoted or not dialect.quote else 0.7,
                         _of_quotes(dialect.quote, quoted)),
        "escape": Certain(dialect.escape, 0.9 if quoted or dialect.escape else 0.7,
                          "it stands before quotes or delimiters" if dialect.escape
                          else "quotes in quotes are doubled"),
        "header": Certain(header.found, header.confidence, header.why),
        "skip_lines": Certain(table.skip_lines, 0.9, _of_lines(table)),
        "comment": Certain(reading.comment, 0.9, "lines that begin with it are no rows" if reading.comment
                           else "no line looks like one"),
        "null_values": Certain(list(nulls.values), 0.9, "texts that stand where all other values are of one type"
                               if len(nulls.values) > 1 else "no other text stands for a missing value"),
    }  # fmt: skip


def _of_quotes(quote: str, quoted: bool) -> str:  # noqa: FBT001 - a private sentence
    if not quote:
        return "quotes stand inside of values, not around them"
    return "it stands around fields" if quoted else "there are none in the sample"


def _of_lines(table: _Table) -> str:
    if table.header.found and not table.header.usable:
        return "the header, and what stands before it: columns= names the columns"
    return "lines that are no rows stand before them" if table.skip_lines else "the file begins with its rows"


def _warnings(charset: Charset, table: _Table) -> Iterator[str]:
    if table.odd:
        yield (f"{table.odd} of {table.odd + len(table.body)} rows of the sample have another number of fields than "
               f"{table.reading.width}, or quotes that do not match")  # fmt: skip
    if charset.confidence <= _DOUBTFUL:
        yield f"the charset is doubtful: {charset.why}"
    if "places in the sample, which are broken" in charset.why:
        yield "some characters are broken: rows with them are refused, or quarantined"
    if table.reading.dialect.escape and any("\\n" in cell for row in table.reading.found for cell in row.cells):
        yield r"an escaped n is read as the letter n, not as a line break"


# --- other formats ---


def _of_jsonl(
    name: str, sample: Sample, charset: Charset, texts: Sequence[str], facts: dict[str, Certain]
) -> Guess:  # fmt: skip
    columns, count = jsonl_columns(texts, [piece.last for piece in sample.pieces])
    form = FileFormat(
        type="jsonl", compression=_said_compression(name, sample, "jsonl"), charset=charset.name,
        time_formats={one.name: one.time_format for one in columns if one.time_format},
    )  # fmt: skip
    facts = {"type": Certain("jsonl", 0.97, "each line is a JSON object"), **facts}
    return Guess(name, form, columns, facts, rows=count)


def _parquet(name: str, sample: Sample) -> Guess:
    """Say that a file is Parquet: it knows its types itself."""
    facts: dict[str, Any] = {"type": Certain("parquet", 1.0, "the file begins with PAR1, and knows its own types")}
    form = FileFormat(type="parquet", compression=_said_compression(name, sample, "parquet"))
    return Guess(name, form, (), facts)


__all__ = ["TEXT", "ColumnGuess", "Guess", "guess"]
