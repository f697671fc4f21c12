"""The statements of a merge that Hologres does in its own way: INSERT ... ON CONFLICT."""

from __future__ import annotations

from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.system_columns import DELETED_AT, SEQ
from airflow_elt_provider.core.writes import Writes


class HologresSql(MergeSql):
    """Writes the SQL of one load; the target's primary key is the load's."""

    def upsert(self) -> Sql:
        """Staged rows become rows, or change the row of their key where it differs."""
        names, values = self._inserted()
        return self._on_conflict(names, values, self._sets_excluded(), self._differs_here() + self._newer_here())

    def upsert_at(self, token: int) -> Sql:
        """Do the same without a transaction: rows that a later load wrote stay, and all that are written are marked.

        Nothing is written once a later load has the lease: a row that is gone since would come back as a new one.
        """
        names, values = self._inserted()
        seq = self.dialect.quote(SEQ)
        sets = [*self._sets_excluded(), f"{seq} = excluded.{seq}"]
        older = [f"(_elt_t.{seq} IS NULL OR _elt_t.{seq} < excluded.{seq})"]
        return self._on_conflict(
            f"{names}, {seq}", f"{values}, {token}", sets, older + self._newer_here(), f" WHERE {self._leased(token)}"
        )

    def count_new(self) -> Sql:
        """How many staged rows have a key that the target has not."""
        return Sql(
            f"SELECT count(*) FROM {self.staged} _elt_s "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.target} _elt_t WHERE {self._same_key()})"
        )

    def count_effects(self) -> Sql:
        """How many staged rows are new, and how many will change a row: two numbers."""
        key = self.dialect.quote(self.key[0])
        changed = f"_elt_t.{key} IS NOT NULL AND ({self._differs() or 'false'}){self._newer()}"
        counts = map(self.dialect.count_if, (f"_elt_t.{key} IS NULL", changed))
        return Sql(
            f"SELECT {', '.join(counts)} FROM {self.staged} _elt_s LEFT JOIN {self.target} _elt_t ON {self._same_key()}"
        )

    def mark_gone(self, token: int) -> Sql:
        """Mark the rows that the load takes away, except those that a later load wrote.

        None once a later load has the lease: a row that came back just as it was may be in no load at all.
        """
        seq = self.dialect.quote(SEQ)
        sets = f"{self.dialect.quote(DELETED_AT)} = {self.dialect.now}, {seq} = {token}"
        older = f"(_elt_t.{seq} IS NULL OR _elt_t.{seq} < {token})"
        return Sql(
            f"UPDATE {self.target} AS _elt_t SET {sets} WHERE {self._gone()} AND {older} AND {self._leased(token)}"
        )

    def backfill_at(self, column: str, token: int) -> Sql:
        """Give rows from before a column was added its value (bound), except those that a later load wrote."""
        seq = self.dialect.quote(SEQ)
        return Sql(f"{self.backfill(column)} AND ({seq} IS NULL OR {seq} < {token})")

    def fill_renamed_at(self, new: str, old: str, token: int) -> Sql:
        """Give rows the value that they have under a column's old name, except those that a later load wrote."""
        seq = self.dialect.quote(SEQ)
        return Sql(f"{self.fill_renamed(new, old)} AND ({seq} IS NULL OR {seq} < {token})")

    # --- inside ---

    def _leased(self, token: int) -> str:
        """Return the condition that no later load has the lease."""
        checkpoint = self.dialect.checkpoints(self.load.manifest.stream)
        return f"EXISTS (SELECT 1 FROM {checkpoint} WHERE token = {token})"

    def _on_conflict(self, names: str, values: str, sets: list[str], conditions: list[str], rows: str = "") -> Sql:
        action = f"UPDATE SET {', '.join(sets)} WHERE {' AND '.join(conditions)}" if sets else "NOTHING"
        return Sql(
            f"INSERT INTO {self.target} AS _elt_t ({names}) SELECT {values} FROM {self.staged} _elt_s{rows} "
            f"ON CONFLICT ({self.dialect.columns(self.key)}) DO {action}"
        )

    def _sets_excluded(self) -> list[str]:
        q = self.dialect.quote
        sets = [f"{q(name)} = excluded.{q(name)}" for name in self.names if name not in self.key]
        return [*sets, f"{q(DELETED_AT)} = NULL"] if DELETED_AT in self.types else sets

    def _differs_here(self) -> list[str]:
        pairs = []
        for name in (name for name in self.names if name not in self.key):
            column, type_ = self.dialect.quote(name), self.types[name]
            mine, theirs = (self.dialect.comparable(f"{side}.{column}", type_) for side in ("_elt_t", "excluded"))
            pairs.append(self.dialect.differ(mine, theirs))
        if DELETED_AT in self.types:
            pairs.append(f"_elt_t.{self.dialect.quote(DELETED_AT)} IS NOT NULL")
        return [f"({' OR '.join(pairs)})"] if pairs else []

    def _newer_here(self) -> list[str]:
        """Return the condition under which a backfill's row is not older than the target's."""
        if not (self.load.manifest.interval and self.load.mode is WriteMode.MERGE):
            return []
        cursor = self.dialect.quote(self.load.manifest.cursor)
        return [f"(_elt_t.{cursor} IS NULL OR excluded.{cursor} >= _elt_t.{cursor})"]


class HologresWrites(Writes):
    """Makes the statements of one load."""

    sql_type = HologresSql
