"""What a comment sign leaves out of a file, and which of it looks like rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from airflow_elt_provider.formats.dialect import Dialect
from airflow_elt_provider.formats.guess_fast import text_of
from airflow_elt_provider.formats.guess_report import Guess
from airflow_elt_provider.formats.guess_rows import Dialect as Signs
from airflow_elt_provider.formats.guess_rows import rows

_LONGEST: Final = 1 << 26


def comments(path: Path, guess: Guess, like_a_row: Callable[[int, str], None]) -> int:
    """Return how many lines a file has that are left out as comments.

    :param like_a_row: is told those that are as wide as a row, each with its line; not those before the header, where
        people write what they like.
    """
    form, count, begun = guess.form, 0, not guess.form.header
    width = len(guess.columns) + len(guess.left_out)
    signs = Signs(form.delimiter, form.quote, form.escape, form.trim)

    def look(line: int, text: str) -> None:
        nonlocal count
        count += 1
        row = next(rows(text, signs), None)
        if begun and row and len(row.cells) == width:
            like_a_row(line + form.skip_lines, text.rstrip("\r\n"))

    with text_of(path, guess) as text:
        for _ in range(form.skip_lines):
            text.readline()
        for _, row in Dialect(form).fields(text, _LONGEST, look):
            begun = begun or bool(row)
    return count
