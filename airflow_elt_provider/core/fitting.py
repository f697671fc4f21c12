"""How an arriving type fits a column's, told by which of the two has every value of the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from airflow_elt_provider.core.dialect import Fit


def fitting(current: str, arriving: str, text: str, holds: Callable[[str, str], bool]) -> Fit:
    """Say how a type fits.

    :param text: the type that holds every value, in its canonical text.
    :param holds: whether the first of two types has every value of the second, exactly.
    """
    if current == arriving:
        return Fit.SAME
    if current == text or holds(current, arriving):
        return Fit.FITS
    return Fit.WIDENS if holds(arriving, current) else Fit.CONFLICTS


@dataclass(frozen=True)
class Numbers:
    """The numeric types of a system.

    :param integers: name -> bits without the sign, and decimal digits that hold all of them.
    :param float_bits: name -> bits of a whole number that it holds exactly.
    :param decimal: a decimal's name, with groups for precision and scale.
    """

    integers: Mapping[str, tuple[int, int]]
    float_bits: Mapping[str, int]
    decimal: re.Pattern[str]

    def holds(self, wide: str, narrow: str) -> bool:
        """Whether a type has every value of another, exactly; no type that is not numeric does."""
        if wide in self.float_bits:
            bits = self.float_bits.get(narrow) or self.integers.get(narrow, (127, 0))[0]
            return bits <= self.float_bits[wide]
        if wide in self.integers:
            return narrow in self.integers and self.integers[wide] >= self.integers[narrow]
        mine, theirs = self.digits(wide), self.digits(narrow)
        return bool(mine and theirs and mine[0] >= theirs[0] and mine[1] >= theirs[1])

    def digits(self, type_: str) -> tuple[int, int] | None:
        """Return how many digits before and after the point hold every value of an exact number."""
        found = self.decimal.fullmatch(type_)
        if found:
            return int(found[1]) - int(found[2]), int(found[2])
        return (self.integers[type_][1], 0) if type_ in self.integers else None
