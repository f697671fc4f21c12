"""The events that a key's past consists of, as text: what a target with history has, and what a load brings.

An event is: here a version begins, here it ends, here a staged row says what is true from then on. The target's own
versions are events like the others, so that rows that come late, or twice, find their place among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import DeleteMode
from airflow_elt_provider.core.question_sql import Problem
from airflow_elt_provider.core.schema import VERSION_START
from airflow_elt_provider.core.staged_file import Role
from airflow_elt_provider.core.system_columns import IS_CURRENT, OP, VALID_FROM, VALID_TO

AT: Final = "_elt_at"
"""Of an event: its time."""
RANK: Final = "_elt_rank"
"""The order of events at one time: ends, beginnings (``OLD``), staged rows (``NEW``)."""
LIVE: Final = "_elt_live"
"""Whether the key has a row from then on: 1 or 0."""
END: Final = "_elt_end"
"""Where it stands for a version of the target: the end that this has so far."""
OLD: Final = 1
NEW: Final = 2
_LAST: Final = "_elt_last"
_ORPHAN: Final = "_elt_orphan"


@dataclass(frozen=True)
class TimelineSql(MergeSql):
    """Writes the SQL of the events of one load's keys."""

    # --- times ---

    @property
    def timed(self) -> bool:
        """Whether staged rows bring the time from which they hold."""
        return any(VALID_FROM in file.extra for file in self.load.manifest.files)

    @property
    def _by_cursor(self) -> bool:
        """Whether the cursor says from when a row holds."""
        manifest = self.load.manifest
        if self.timed or not manifest.cursor:
            return False
        kind = manifest.schema.column(manifest.cursor).type
        return pa.types.is_timestamp(kind) or pa.types.is_date(kind)

    @property
    def tells(self) -> bool:
        """Whether any staged row may be an event."""
        manifest = self.load.manifest
        return bool(self.upserts or (self.timed and manifest.rows_of(Role.DELETE)))

    @property
    def single(self) -> bool:
        """Whether no key is staged twice."""
        return not self.timed and (not self._by_cursor or self.load.manifest.schema.key_enforced)

    @property
    def _read_at(self) -> str:
        """When the source was read."""
        manifest = self.load.manifest
        moment = datetime.fromisoformat(manifest.as_of or manifest.created_at)
        return self.dialect.instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    @property
    def _starts(self) -> str:
        """From when a staged row holds: as it says itself, as its cursor says, or since the source was read."""
        own = ""
        if self.timed:
            own = self.dialect.staged_value(VERSION_START, exact=False)
        elif self._by_cursor:
            cursor = self.load.manifest.schema.column(self.load.manifest.cursor)
            own = self.dialect.moment(cursor, self._own(cursor))
        return f"coalesce({own}, {self._read_at})" if own else self._read_at

    # --- rows ---

    @property
    def existing(self) -> str:
        """The target as a FROM item."""
        return self.target

    @property
    def _current(self) -> str:
        return f"_elt_t.{self.dialect.quote(IS_CURRENT)}"

    @property
    def count_target(self) -> Sql:
        """How many current versions the target has."""
        return Sql(f"SELECT count(*) FROM {self.existing} _elt_t WHERE {self._current}")

    @property
    def staged(self) -> str:
        """The staged rows as the target would hold them, as a FROM item."""
        if not self.has_partial:
            return super().staged
        items = self.dialect.columns(self.names)
        q = self.dialect.quote
        return f"(SELECT {items} FROM {self._filled_events} _elt_f WHERE {q(RANK)} = {NEW} AND {q(LIVE)} = 1)"

    @property
    def asks_key(self) -> bool:
        """Whether the staged keys have to be looked at."""
        return self.timed or super().asks_key

    def key_problems(self) -> tuple[Problem, ...]:
        """Questions whose answers must be 0: a key has one row at one time."""
        columns = self.dialect.columns((*self.key, AT))
        group = f"SELECT 1 FROM ({self._staged_events}) _elt_s GROUP BY {columns} HAVING count(*) > 1"
        at = (self._starts,) if self.timed or self._by_cursor else ()  # else it is the same for all
        return (
            self._keyless(f"SELECT count(*) FROM ({self._staged_events}) _elt_s"),
            self._twice("keys appear more than once at one time", f"SELECT count(*) FROM ({group}) _elt_d", *at),
        )

    def count_orphans(self) -> Sql:
        """How many staged rows lack columns that no version before them could fill in."""
        return Sql(f"SELECT count(*) FROM {self._filled_events} _elt_f WHERE {self.dialect.quote(_ORPHAN)} = 1")

    # --- rows that are gone since the source was read ---

    @property
    def takes_away(self) -> bool:
        """Whether rows may be gone that no staged time is known of."""
        manifest = self.load.manifest
        if self.load.deletes is DeleteMode.IGNORE:
            return False
        named = manifest.takes_away and not (self.timed and manifest.buckets is None)
        return manifest.complete or named

    def _gone(self) -> str:
        """Return the condition over the current versions of rows that are gone."""
        gone = self._absent() if self.load.manifest.complete else self._doomed()
        return f"{self._current} AND {gone}"

    def _absent(self) -> str:
        present = self.keys(self._told) if self.load.manifest.has_ops else self.keys("1 = 1")
        return f"NOT EXISTS (SELECT 1 FROM {present} _elt_s WHERE {self._same_key()})"

    @property
    def ended(self) -> str:
        """When the version ends of a row that is gone: since the source was read, and not before it began."""
        begun = f"_elt_t.{self.dialect.quote(VALID_FROM)}"
        return f"CASE WHEN {begun} > {self._read_at} THEN {begun} ELSE {self._read_at} END"

    def delete_gone(self) -> Sql:
        """End the current versions of rows that are gone."""
        q = self.dialect.quote
        sets = f"{q(VALID_TO)} = {self.ended}, {q(IS_CURRENT)} = false"
        return Sql(f"UPDATE {self.target} AS _elt_t SET {sets} WHERE {self._gone()}")

    def count_gone(self) -> Sql:
        """How many current versions are of rows that are gone."""
        return Sql(f"SELECT count(*) FROM {self.existing} _elt_t WHERE {self._gone()}")

    def backfill(self, column: str) -> Sql:
        """Give the current versions from before a column was added the value (bound) that the source gives them."""
        return Sql(f"{super().backfill(column)} AND {self.dialect.quote(IS_CURRENT)}")

    # --- events ---

    @property
    def _told(self) -> str:
        """The condition for staged rows that are events: deletes are where they bring their time."""
        deletes = self.timed and self.load.deletes is not DeleteMode.IGNORE
        return f"({self._plain} OR {self._op} = 'd')" if deletes and self.load.manifest.has_ops else self._plain

    @property
    def _staged_events(self) -> str:
        d, q = self.dialect, self.dialect.quote
        ops = self.load.manifest.has_ops
        items = [f"{self._value(column)} AS {q(column.name)}" for column in self.columns]
        names = (*self.names, AT, RANK, LIVE, END, *([OP] if self.has_partial else []))
        live = f"CASE WHEN {self._op} = 'd' THEN 0 ELSE 1 END" if ops else "1"
        none = d.cast("NULL", self.types[VALID_TO])
        own = (f"{self._starts} AS {q(AT)}", f"{NEW} AS {q(RANK)}", f"{live} AS {q(LIVE)}", f"{none} AS {q(END)}")
        op = [f"{self._op} AS {q(OP)}"] if self.has_partial else []
        return self._sifted((*items, *own, *op), names, f"FROM {d.staging(self.load)} _elt_r WHERE {self._told}")

    @property
    def _target_events(self) -> str:
        """Beginnings and ends of the versions that the staged keys have."""
        d, q = self.dialect, self.dialect.quote
        begun, ended, rank = f"_elt_t.{q(VALID_FROM)}", f"_elt_t.{q(VALID_TO)}", f"_elt_m.{q(RANK)}"
        own = (
            f"CASE WHEN {rank} = {OLD} THEN {begun} ELSE {ended} END AS {q(AT)}", f"{rank} AS {q(RANK)}",
            f"CASE WHEN {rank} = {OLD} AND ({ended} IS NULL OR {ended} > {begun}) THEN 1 ELSE 0 END AS {q(LIVE)}",
            f"{ended} AS {q(END)}",
        )  # fmt: skip
        op = [f"{d.cast('NULL', d.text_type)} AS {q(OP)}"] if self.has_partial else []
        both = f"(SELECT {OLD} AS {q(RANK)} UNION ALL SELECT 0 AS {q(RANK)})"
        return (
            f"SELECT {', '.join((d.columns(self.names, '_elt_t.'), *own, *op))} FROM {self.existing} _elt_t "
            f"CROSS JOIN {both} _elt_m WHERE ({rank} = {OLD} OR {ended} > {begun}) AND "
            f"EXISTS (SELECT 1 FROM {self.keys(self._told)} _elt_s WHERE {self._same_key()})"
        )

    def _over(self, *more: str, ordered: bool = True) -> str:
        q = self.dialect.quote
        order = f" ORDER BY {q(AT)}, {q(RANK)}" if ordered else ""
        return f"OVER (PARTITION BY {self.dialect.columns((*self.key, *more))}{order})"

    @property
    def _events(self) -> str:
        """All events of the staged keys, as a FROM item."""
        events = f"({self._staged_events} UNION ALL {self._target_events})"
        if self.timed or self._by_cursor:
            return events
        # What was read last is true now, also where a clock went back: no version begins after it.
        q = self.dialect.quote
        last = f"max(CASE WHEN {q(RANK)} < {NEW} THEN {q(AT)} END) {self._over(ordered=False)}"
        at = f"CASE WHEN {q(RANK)} = {NEW} AND {q(_LAST)} > {q(AT)} THEN {q(_LAST)} ELSE {q(AT)} END AS {q(AT)}"
        names = (*self.names, RANK, LIVE, END, *([OP] if self.has_partial else []))
        beside = f"(SELECT _elt_e.*, {last} AS {q(_LAST)} FROM {events} _elt_e)"
        return f"(SELECT {self.dialect.columns(names)}, {at} FROM {beside} _elt_l)"

    @property
    def _lacking(self) -> Mapping[str, str]:
        """Column -> condition for the events that do not bring it."""
        found: dict[str, str] = {}
        for name in self.names:
            ops = [f"'p{at}'" for at, names in enumerate(self.load.manifest.unchanged) if name in names]
            if ops:
                found[name] = f"{self.dialect.quote(OP)} IN ({', '.join(ops)})"
        return found

    @property
    def _filled_events(self) -> str:
        """All events, each with the values of the last one before it that brings them, as a FROM item."""
        if not self.has_partial:
            return self._events
        q, lacking = self.dialect.quote, self._lacking
        groups = {condition: f"_elt_g{at}" for at, condition in enumerate(dict.fromkeys(lacking.values()))}
        counted = ", ".join(
            f"sum(CASE WHEN {condition} THEN 0 ELSE 1 END) {self._over()} AS {q(group)}"
            for condition, group in groups.items()
        )
        items = [
            q(name) if name not in lacking else
            f"CASE WHEN {lacking[name]} THEN first_value({q(name)}) {self._over(groups[lacking[name]])} "
            f"ELSE {q(name)} END AS {q(name)}"
            for name in self.names
        ]  # fmt: skip
        orphans = " OR ".join(
            f"({condition} AND first_value(CASE WHEN {condition} THEN 0 ELSE {q(LIVE)} END) {self._over(group)} = 0)"
            for condition, group in groups.items()
        )
        orphan = f"CASE WHEN {orphans} THEN 1 ELSE 0 END AS {q(_ORPHAN)}"
        own = self.dialect.columns((AT, RANK, LIVE, END))
        beside = f"(SELECT _elt_e.*, {counted} FROM {self._events} _elt_e)"
        return f"(SELECT {', '.join((*items, own, orphan))} FROM {beside} _elt_g)"
