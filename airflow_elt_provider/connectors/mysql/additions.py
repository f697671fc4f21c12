"""Columns that the source got since the last load, and the values that rows read before already have in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from airflow_elt_provider.connectors.mysql.catalog import Relation
from airflow_elt_provider.connectors.mysql.names import quoted
from airflow_elt_provider.connectors.mysql.selection import SelectedColumn, Selection
from airflow_elt_provider.connectors.mysql.session import MySqlSession
from airflow_elt_provider.connectors.mysql.types import INTEGERS, TEXTS, exact_text
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.modes import WriteMode

_PLAIN: Final = INTEGERS | TEXTS | {"decimal", "date", "datetime", "year", "enum", "set"}
"""Types whose text every destination reads as the value."""
_ZERO: Final = re.compile(r"^0000-|-00")


@dataclass(frozen=True)
class Additions:
    """What new columns mean for rows that were read before.

    :param backfill: name in the target -> text of the one value that all rows have, as after ``ADD COLUMN ... DEFAULT``
        (which moves no cursor).
    :param filled: new columns whose earlier rows have values of their own.
    :param reshaped: columns of a known name that are others now: of another type, or dropped and added again.
    """

    backfill: Mapping[str, str] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()

    @property
    def call_for_everything(self) -> bool:
        """Whether rows that were read before have to be read again."""
        return bool(self.filled or self.reshaped)

    def notes(self, mode: WriteMode) -> tuple[str, ...]:
        """Say what is done about it."""
        if not self.call_for_everything:
            return ()
        names = ", ".join(self.filled + self.reshaped)
        if mode is WriteMode.APPEND:
            return (
                f"column {names} is new: rows appended before keep what they have; full_refresh=True would fill it",
            )
        return (f"column {names} is new, and rows that were read before have values: reading the whole table once",)


def find_additions(
    session: MySqlSession, relation: Relation, selection: Selection, since: Position, where: str
) -> Additions:
    """Compare the columns with those of the checkpoint."""
    backfill: dict[str, str] = {}
    filled: list[str] = []
    before = dict(zip(since.columns, since.shape, strict=False))
    now = dict(zip(selection.names, shape(selection), strict=True))
    for selected in selection.columns:
        name = selected.source.name
        if not since.columns or name in since.columns:
            continue
        values, one = _values(session, relation, selected, where)
        if values and one is not None:
            backfill[selected.column.name] = one
        elif values:
            filled.append(name)
    return Additions(backfill, tuple(filled), _reshaped(before, now))


def shape(selection: Selection) -> tuple[str, ...]:
    """Return what each column is, to see when another one takes its name: its place and its type."""
    return tuple(f"{column.source.number} {column.source.type.declared}" for column in selection.columns)


def _reshaped(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Name the columns of another type, and those that changed places: dropped, and added again at the end."""
    both = [name for name in now if name in before]
    parted = {name: (before[name].partition(" "), now[name].partition(" ")) for name in both}
    retyped = [name for name, (old, new) in parted.items() if old[2] != new[2]]
    orders = ({name: int(sides[at][0]) for name, sides in parted.items()} for at in (0, 1))
    first, second = (sorted(both, key=places.__getitem__) for places in orders)
    moved = [name for name, other in zip(first, second, strict=True) if name != other]
    return tuple(dict.fromkeys([*retyped, *moved]))


def _values(session: MySqlSession, relation: Relation, selected: SelectedColumn, where: str) -> tuple[bool, str | None]:
    """Say whether rows have values in a column, and the one that all have, where it is one and plain."""
    text = exact_text(selected.source.type, quoted(selected.source.name))
    found = session.one(
        f"SELECT COUNT({quoted(selected.source.name)}), COUNT(*), MIN({text}) = MAX({text}), MIN({text}) "
        f"FROM {relation.from_item} WHERE {where}"
    )
    plain = selected.source.type.name in _PLAIN and selected.override is None
    one = found[3] if plain and found[0] == found[1] and found[2] == "1" else None
    zero = selected.source.type.name in {"date", "datetime"} and _ZERO.search(one or "")
    return found[0] != "0", None if zero else one
