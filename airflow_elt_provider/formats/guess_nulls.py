"""Which texts mean that there is no value: never where they may be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.formats.guess_column import TEXT, ColumnGuess, guess_type
from airflow_elt_provider.formats.guess_rows import NULL_ESCAPE

MARKERS: Final = (NULL_ESCAPE, "NULL", "null", "NA", "N/A", "#N/A", "-")
NEVER_A_WORD: Final = frozenset({NULL_ESCAPE, "#N/A"})
"""Markers that no text column would hold as a word."""


@dataclass(frozen=True)
class Cells:
    """The values of a column in the sample, with how often each occurs."""

    name: str
    plain: Counter[str]
    quoted: Counter[str]

    @classmethod
    def of(cls, name: str, cells: Iterable[tuple[str, bool]]) -> Cells:
        """Count them."""
        counted = Counter(cells)
        plain = Counter({value: count for (value, quoted), count in counted.items() if not quoted})
        return cls(name, plain, Counter({value: count for (value, quoted), count in counted.items() if quoted}))

    def without(self, markers: Iterable[str]) -> Counter[str]:
        """Return the values that are left without empty ones and markers."""
        values = self.plain + self.quoted
        for marker in ("", *markers):
            values.pop(marker, None)
        return values

    def has(self, marker: str) -> bool:
        """Whether it occurs."""
        return marker in self.plain or marker in self.quoted

    @property
    def rows(self) -> int:
        """How many values there are, NULLs included."""
        return self.plain.total() + self.quoted.total()


@dataclass(frozen=True)
class Nulls:
    """What means NULL, and the columns' types once that is known."""

    values: tuple[str, ...]
    quoted: bool
    columns: Sequence[ColumnGuess]
    warnings: Sequence[str] = ()


def guess_nulls(columns: Sequence[Cells]) -> Nulls:
    """Guess types and NULL markers together: a marker is one where all other values of a column are of one type."""
    guesses = {at: _with_markers(cells) for at, cells in enumerate(columns)}
    wanted = {marker for _, markers in guesses.values() for marker in markers}
    warnings: list[str] = []
    for marker in sorted(wanted - NEVER_A_WORD):
        texts = [cells.name for at, cells in enumerate(columns) if guesses[at][0].is_text and cells.has(marker)]
        if texts:
            wanted.discard(marker)
            warnings.append(_conflict(marker, texts[0]))
    quoted, refused = _quoted(columns, guesses, wanted)
    wanted -= refused
    found = [_settled(cells, *guesses[at], wanted) for at, cells in enumerate(columns)]
    warnings += _untaken(columns, found, wanted)
    order = tuple(marker for marker in MARKERS if marker in wanted)
    empty = () if quoted and any("" in cells.quoted for cells in columns) else ("",)
    return Nulls((*empty, *order), quoted, found, warnings)


def _with_markers(cells: Cells) -> tuple[ColumnGuess, frozenset[str]]:
    """Guess a column's type with the markers in it as values, and if that is text, without them."""
    present = frozenset(marker for marker in MARKERS if cells.has(marker))
    guess = guess_type(cells.name, cells.without(()))
    if not present or not guess.is_text:
        return guess, frozenset()
    rest = cells.without(present)
    without = guess_type(cells.name, rest)
    return (guess, frozenset()) if without.is_text or not rest else (without, present)


def _quoted(
    columns: Sequence[Cells], guesses: Mapping[int, tuple[ColumnGuess, frozenset[str]]], wanted: set[str]
) -> tuple[bool, set[str]]:
    """Say whether markers in quotes are meant, too; and which cannot be, because "" then would be NULL as well."""
    inside = {
        marker for at, cells in enumerate(columns) for marker in guesses[at][1] & wanted if marker in cells.quoted
    }
    if not inside:
        return False, set()
    texts = [cells for at, cells in enumerate(columns) if guesses[at][0].is_text]
    both = any("" in cells.quoted for cells in texts) and any("" in cells.plain for cells in texts)
    return (False, inside) if both else (True, set())


def _settled(cells: Cells, guess: ColumnGuess, markers: frozenset[str], wanted: set[str]) -> ColumnGuess:
    denied = markers - wanted
    if denied:
        guess = guess_type(cells.name, cells.without(()))
        why = f"{', '.join(sorted(denied))} among values of one type, but it is a value of another column"
        guess = ColumnGuess(guess.name, guess.type, 0.6, why)
        markers = frozenset()
    taken = sorted(markers & wanted)
    why = guess.why + (f"; {', '.join(taken)} mean{'s' if len(taken) == 1 else ''} NULL" if taken else "")
    kept = cells.without(markers & wanted if not guess.is_text else ())
    empty = cells.plain[""] if guess.is_text else cells.rows - kept.total()
    return ColumnGuess(
        guess.name, guess.type, guess.confidence, why, guess.time_format,
        round(empty / cells.rows, 4) if cells.rows else 0.0, cells.rows > 1 and len(kept) == cells.rows,
    )  # fmt: skip


def _conflict(marker: str, column: str) -> str:
    return (
        f"{marker!r} stands among values of one type, and in column {column!r} among texts, where it may be a value "
        "(Namibia is NA): it is kept everywhere, so the former are read as text. If it is NULL wherever it stands, "
        f"add it to null_values"
    )


def _untaken(columns: Sequence[Cells], found: Sequence[ColumnGuess], wanted: set[str]) -> list[str]:
    """Mention a database's NULL in texts."""
    names = [cells.name for cells, guess in zip(columns, found, strict=True)
             if guess.type == TEXT and cells.has(NULL_ESCAPE) and NULL_ESCAPE not in wanted]  # fmt: skip
    if not names:
        return []
    return [f"column {names[0]!r} has {NULL_ESCAPE} as a text: if it means NULL, add it to null_values"]
