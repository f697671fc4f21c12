"""Tables in logs: plain text, aligned, no wider than a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from unicodedata import combining, east_asian_width

WIDTH: Final = 100
_GAP: Final = "  "


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for most letters of East Asia."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def text_table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, most: int = WIDTH) -> str:
    """Return lines of aligned cells under their heads; numbers stand right, and the last column is cut to fit.

    >>> print(text_table(["side", "rows"], [["source", 1200], ["target", 7]]))
    side     rows
    ------  -----
    source  1,200
    target      7
    """
    cells = [[_shown(cell) for cell in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[at], int) or row[at] is None for row in rows)
             for at in range(len(heads))]  # fmt: skip
    widths = [max(map(width, column)) for column in zip(heads, *cells, strict=True)]
    room = most - sum(widths[:-1]) - len(_GAP) * (len(heads) - 1)
    widths[-1] = max(min(widths[-1], room), width(heads[-1]))
    lines = [list(heads), ["-" * size for size in widths], *cells]
    return "\n".join(
        _GAP.join(_padded(cell, size, after=after) for cell, size, after in zip(line, widths, right, strict=True))
        .rstrip() for line in lines
    )  # fmt: skip


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return " ".join(str(cell).split())


def _padded(text: str, size: int, *, after: bool) -> str:
    if width(text) > size:
        while width(text) > size - 3:
            text = text[:-1]
        text += "..."
    blanks = " " * (size - width(text))
    return blanks + text if after else text + blanks
