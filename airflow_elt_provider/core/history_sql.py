"""The statements of ``mode="history"``: staged rows become versions of the target's rows.

Sorted by time, each event of a key knows the one before it and the one after it, so that passes of window functions,
linear in the rows of the keys at hand, give the versions as they are to be; see :mod:`timeline_sql`.

A version is told by key and ``_elt_valid_from``, and holds from there to ``_elt_valid_to``, exclusively. One that was
taken back at the moment it began stays, with both the same: it never held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.system_columns import IS_CURRENT, VALID_FROM, VALID_TO
from airflow_elt_provider.core.timeline_sql import AT, END, LIVE, NEW, OLD, RANK, TimelineSql

_KNOWN: Final = "_elt_known"
"""Whether a staged row stands for a version that the target has: one begins at its time."""
_CHANGED: Final = "_elt_changed"
"""Whether the values differ from those before."""
_UNTIL: Final = "_elt_until"
"""When the version is to end; NULL for never."""
_DELETED: Final = "_elt_deleted"
"""Whether it is a delete that ends it."""
_LAST: Final = "_elt_last"
_IS_NEW, _CORRECTED, _MOVED, _GONE = "_elt_new", "_elt_corrected", "_elt_moved", "_elt_gone"
_EVENT: Final = (AT, RANK, LIVE, END)
_T = TypeVar("_T")


class Versions(NamedTuple, Generic[_T]):
    """What a load makes of a target's versions, in versions.

    :param new: to insert.
    :param corrected: that get other values in place.
    :param moved: that get another end.
    :param closed: whose end is a delete with a time of its own.
    :param gone: those of them that were the current ones of rows which do not come back.
    """

    new: _T
    corrected: _T
    moved: _T
    closed: _T
    gone: _T


@dataclass(frozen=True)
class HistorySql(TimelineSql):
    """Writes the SQL of one load into a target with history."""

    @property
    def _others(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.key)

    # --- versions as they are to be ---

    @property
    def _judged(self) -> str:
        """The events, each beside the one before it, as a FROM item."""
        q, over = self.dialect.quote, self._over()
        lags = [f"lag({q(name)}) {over} AS {q(_before(name))}" for name in _EVENT]
        lags += [f"lag({q(name)}) {over} AS {q(_before(at))}" for at, name in enumerate(self._others)]
        nexts = [f"lead({q(name)}) {over} AS {q(_after(name))}" for name in (AT, RANK)]
        items = ", ".join((self.dialect.columns((*self.names, *_EVENT)), *lags, *nexts))
        return f"(SELECT {items} FROM {self._filled_events} _elt_f)"

    def _changes(self) -> str:
        d, pairs = self.dialect, []
        for at, name in enumerate(self._others):
            theirs, mine = (d.comparable(d.quote(each), self.types[name]) for each in (_before(at), name))
            pairs.append(d.differ(theirs, mine))
        return " OR ".join(pairs) or "1 = 0"

    @property
    def _told_apart(self) -> str:
        """The events that stand for themselves, as a FROM item: a staged row replaces a version that begins with it."""
        q = self.dialect.quote
        known = f"{q(RANK)} = {NEW} AND {q(_before(RANK))} = {OLD} AND {q(_before(AT))} = {q(AT)}"
        replaced = f"{q(RANK)} = {OLD} AND {q(_after(RANK))} = {NEW} AND {q(_after(AT))} = {q(AT)}"
        flags = ((known, _KNOWN), (self._changes(), _CHANGED), (replaced, _LAST))
        told = ", ".join(f"CASE WHEN {condition} THEN 1 ELSE 0 END AS {q(name)}" for condition, name in flags)
        own = self.dialect.columns((*self.names, *_EVENT, _before(END), _before(LIVE)))
        return f"(SELECT * FROM (SELECT {own}, {told} FROM {self._judged} _elt_j) _elt_k WHERE {q(_LAST)} = 0)"

    @property
    def _kept(self) -> str:
        """The events that change something, as a FROM item: a staged row that says what holds anyway is none."""
        q = self.dialect.quote
        idle = (
            f"{q(RANK)} = {NEW} AND {q(_KNOWN)} = 0 AND coalesce({q(_before(LIVE))}, 0) = {q(LIVE)} "
            f"AND ({q(LIVE)} = 0 OR {q(_CHANGED)} = 0)"
        )
        end = f"CASE WHEN {q(_KNOWN)} = 1 THEN {q(_before(END))} ELSE {q(END)} END AS {q(END)}"
        own = self.dialect.columns((*self.names, AT, RANK, LIVE, _KNOWN, _CHANGED))
        return f"(SELECT {own}, {end} FROM {self._told_apart} _elt_a WHERE NOT ({idle}))"

    @property
    def _ended(self) -> str:
        """The versions of the staged keys with the ends they are to have, as a FROM item."""
        q, over = self.dialect.quote, self._over()
        own = self.dialect.columns((*self.names, *_EVENT, _KNOWN, _CHANGED))
        nexts = ", ".join(f"lead({q(name)}) {over} AS {q(_after(name))}" for name in (AT, RANK, LIVE))
        events = f"(SELECT {own}, {nexts}, lead({q(AT)}, 2) {over} AS {q(_LAST)} FROM {self._kept} _elt_v)"
        live = f"{q(LIVE)} = 1"
        deleted = f"{q(LIVE)} = 0 OR ({q(_after(RANK))} = {NEW} AND {q(_after(LIVE))} = 0)"
        items = (
            f"CASE WHEN {live} THEN {q(_after(AT))} ELSE {q(AT)} END AS {q(_UNTIL)}",
            f"CASE WHEN {live} THEN {q(_LAST)} ELSE {q(_after(AT))} END AS {q(_LAST)}",
            f"CASE WHEN {deleted} THEN 1 ELSE 0 END AS {q(_DELETED)}",
        )
        # A delete is a version only where it takes one back that begins at its very time.
        return f"(SELECT {own}, {', '.join(items)} FROM {events} _elt_w WHERE {live} OR {q(_KNOWN)} = 1)"

    @property
    def versions(self) -> str:
        """The versions of the staged keys as they are to be, and what that changes, as a FROM item."""
        q = self.dialect.quote
        moved = f"({q(RANK)} = {OLD} OR {q(_KNOWN)} = 1) AND {self.dialect.differ(q(END), q(_UNTIL))}"
        flags = (
            (f"{q(RANK)} = {NEW} AND {q(_KNOWN)} = 0", _IS_NEW), (moved, _MOVED),
            (f"{q(_KNOWN)} = 1 AND {q(LIVE)} = 1 AND {q(_CHANGED)} = 1", _CORRECTED),
            (f"{q(_DELETED)} = 1 AND {q(END)} IS NULL AND {q(_LAST)} IS NULL", _GONE),
        )  # fmt: skip
        told = ", ".join(f"CASE WHEN {condition} THEN 1 ELSE 0 END AS {q(name)}" for condition, name in flags)
        own = self.dialect.columns((*self.names, AT, _UNTIL, _DELETED))
        return f"(SELECT {own}, {told} FROM {self._ended} _elt_x)"

    def _conditions(self) -> Versions[str]:
        """Return the conditions over ``versions`` for what a load makes of them."""
        new, corrected, moved, deleted, gone = (
            f"_elt_s.{self.dialect.quote(name)}" for name in (_IS_NEW, _CORRECTED, _MOVED, _DELETED, _GONE)
        )
        closed = f"{deleted} = 1 AND {new} + {moved} > 0"
        return Versions(f"{new} = 1", f"{corrected} = 1", f"{moved} = 1", closed, f"{gone} = 1 AND {new} = 0")

    def count_versions(self) -> Sql:
        """What the load makes of the target's versions: the numbers of :class:`Versions`."""
        counts = ", ".join(map(self.dialect.count_if, self._conditions()))
        return Sql(f"SELECT {counts} FROM {self.versions} _elt_s")

    def count_written(self) -> Sql:
        """How many versions the load inserts, and how many it corrects: two numbers."""
        conditions = self._conditions()
        counts = ", ".join(map(self.dialect.count_if, (conditions.new, conditions.corrected)))
        return Sql(f"SELECT {counts} FROM {self.versions} _elt_s")

    # --- statements: new versions come first, then those around them get their ends by what is there ---

    def _insert(self, rows: str, start: str, end: str, condition: str) -> Sql:
        q = self.dialect.quote
        names = self.dialect.columns((*self.names, VALID_FROM, VALID_TO, IS_CURRENT))
        values = f"{self.dialect.columns(self.names, '_elt_s.')}, _elt_s.{q(start)}, _elt_s.{q(end)}"
        current = f"_elt_s.{q(end)} IS NULL"
        return Sql(
            f"INSERT INTO {self.target} ({names}) SELECT {values}, {current} FROM {rows} _elt_s WHERE {condition}"
        )

    def insert_first(self) -> Sql:
        """Staged rows, one for each key, become the first versions of an empty target."""
        return self._insert(f"({self._staged_events})", AT, END, f"_elt_s.{self.dialect.quote(LIVE)} = 1")

    def insert_versions(self) -> Sql:
        """New versions come, with the ends they are to have."""
        return self._insert(self.versions, AT, _UNTIL, self._conditions().new)

    def correct_versions(self) -> Sql | None:
        """Versions of which the load knows better get its values; None where there is nothing but the key."""
        q = self.dialect.quote
        sets = [f"{q(name)} = _elt_s.{q(name)}" for name in self._others]
        return self._update(sets, self._conditions().corrected) if sets else None

    def move_ends(self) -> Sql:
        """Versions end where the next event is."""
        q = self.dialect.quote
        sets = [f"{q(VALID_TO)} = _elt_s.{q(_UNTIL)}", f"{q(IS_CURRENT)} = (_elt_s.{q(_UNTIL)} IS NULL)"]
        return self._update(sets, self._conditions().moved)

    def _update(self, sets: list[str], condition: str) -> Sql:
        return Sql(
            f"UPDATE {self.target} AS _elt_t SET {', '.join(sets)} FROM {self.versions} _elt_s "
            f"WHERE {self._same_version()} AND {condition}"
        )

    def _same_version(self) -> str:
        q = self.dialect.quote
        return f"{self._same_key()} AND _elt_t.{q(VALID_FROM)} = _elt_s.{q(AT)}"

    def merge_versions(self, *, gone: bool) -> Sql:
        """Do all of that in one statement.

        :param gone: whether rows are gone since the source was read, so that their versions end too.
        """
        q, conditions = self.dialect.quote, self._conditions()
        names = (*self.names, AT, _UNTIL)
        changed = f"{conditions.new} OR {conditions.corrected} OR {conditions.moved}"
        rows = f"SELECT {self.dialect.columns((*names, _CORRECTED))} FROM {self.versions} _elt_s WHERE {changed}"
        if gone:
            own = self.dialect.columns((*self.names, VALID_FROM), "_elt_t.")
            rows += f" UNION ALL SELECT {own}, {self.ended}, 0 FROM {self.existing} _elt_t WHERE {self._gone()}"
        current = f"(_elt_s.{q(_UNTIL)} IS NULL)"
        ends = f"{q(VALID_TO)} = _elt_s.{q(_UNTIL)}, {q(IS_CURRENT)} = {current}"
        sets = [*(f"{q(name)} = _elt_s.{q(name)}" for name in self._others), ends]
        columns = self.dialect.columns((*self.names, VALID_FROM, VALID_TO, IS_CURRENT))
        return Sql(
            f"MERGE INTO {self.target} AS _elt_t USING {self._source(rows)} AS _elt_s ON {self._same_version()} "
            f"WHEN MATCHED AND {conditions.corrected} THEN UPDATE SET {', '.join(sets)} "
            f"WHEN MATCHED THEN UPDATE SET {ends} "
            f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({self.dialect.columns(names, '_elt_s.')}, {current})"
        )

    def _source(self, rows: str) -> str:
        """Return a query as what a MERGE takes its rows from."""
        return f"({rows})"


def _before(name: str | int) -> str:
    return f"{name}_before" if isinstance(name, str) else f"_elt_before{name}"


def _after(name: str) -> str:
    return f"{name}_after"
