"""The tables whose changes a slot hands out: where each stands, and whether the log can go on from there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.additions import shape
from airflow_elt_provider.connectors.postgres.catalog import KINDS, query_rows
from airflow_elt_provider.connectors.postgres.epoch import Epoch
from airflow_elt_provider.connectors.postgres.row_versions import has_aged, in_reach
from airflow_elt_provider.connectors.postgres.wal_fold import Fold
from airflow_elt_provider.connectors.postgres.wal_log import TableLog
from airflow_elt_provider.connectors.postgres.wal_messages import lsn_number, lsn_text
from airflow_elt_provider.connectors.postgres.wal_opening import FoundTable
from airflow_elt_provider.connectors.postgres.wal_publication import Publishing
from airflow_elt_provider.connectors.postgres.wal_rows import LogRows
from airflow_elt_provider.connectors.postgres.wal_slot import Slot
from airflow_elt_provider.core.capture import Wal
from airflow_elt_provider.core.checkpoint import LogPosition, Position, SnapshotPosition
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.protocols import ChangeSet

IDLE_BYTES: Final = 16 << 20
"""Less of the log than this, without a change of the table in it, is read again rather than moving the checkpoint."""


@dataclass(frozen=True)
class Reached:
    """Up to where the log was read.

    :param until: transactions whose commit record begins before this.
    :param left: bytes that had been written behind it when reading was over.
    :param newest: time of the newest commit that was read, microseconds of Unix; None for none.
    :param now: the server's time then.
    """

    until: int
    left: int
    newest: int | None
    now: datetime

    @property
    def age(self) -> float:
        """Seconds since the newest commit."""
        return round(self.now.timestamp() - self.newest / 1e6, 3) if self.newest is not None else 0.0


@dataclass
class FollowedTable:
    """One table of a slot, and how this extract reads it.

    :param gap: why the log cannot go on from the checkpoint; "" where it can, or where there is none.
    :param everything: whether the whole table is read; else, with a gap, the rows that may be new, and all keys.
    """

    found: FoundTable
    slot: str
    publication: str
    publishing: Publishing
    by_log: bool = False
    everything: bool = True
    gap: str = ""
    _reached: Reached | None = field(default=None, repr=False)

    @property
    def since(self) -> int:
        """The checkpoint's position in the log; 0 for none."""
        position = self.found.since
        return lsn_number(position.log.lsn) if position and position.log else 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the log."""
        how = "the whole table" if self.everything else "the rows that may be new, and all keys"
        gap = [f"{self.gap}: reading {how} instead of the log"] if self.gap else []
        return (*self.found.selection.notes, *self.publishing.notes, *gap)

    # --- deciding ---

    def decide(self, slot: Slot | None, end: int, oldest: int) -> None:
        """Choose between the log, what heals a gap in it, and the whole table.

        :param end: of the log.
        :param oldest: a checkpoint before this holds the slot back too far for the tables that share it.
        :raises ConfigurationError: when the checkpoint is of another capture, key or source.
        """
        since = self.found.since
        if since:
            since.refuse_change(self.position(end), self.found.extraction.stream)
        if since is None or since.log is None:
            return
        self.gap = self._broken(since, end)
        self.everything = bool(self.gap)
        if not self.gap:
            self.gap = self._silent(since.log, slot, oldest)
        self.by_log = not self.gap

    def _broken(self, since: Position, end: int) -> str:
        """Return why nothing of what was read then can be compared with what is there now."""
        before = Epoch.parse(since.snapshot.epoch) if since.snapshot else None
        now, xmin = self.found.epoch, since.snapshot.xmin if since.snapshot else 0
        if before is None:
            return "the checkpoint does not say what it saw"
        if before.tables != now.tables and not now.other_versions(before):
            return "the table has other partitions"
        if self.since > end:
            return f"the server's log ends at {lsn_text(end)}, before the checkpoint: it was restored"
        if not in_reach(xmin, self.found.xmin):
            return "too many transactions went by since the checkpoint"
        if self.found.additions.call_for_everything:
            columns = ", ".join(self.found.additions.filled + self.found.additions.reshaped)
            return f"column {columns} has values that the log does not tell"
        return now.other_versions(before)

    def _silent(self, log: LogPosition, slot: Slot | None, oldest: int) -> str:
        """Return why the log tells not everything since the checkpoint."""
        if slot is None:
            return f"slot {self.slot} is not there any more"
        told, _, file = log.told.partition(" ")
        moved = log.publication != self.publication or told != self.publishing.identity
        reasons = {
            f"slot {self.slot} is lost ({slot.lost})": bool(slot.lost),
            f"the checkpoint is of slot {log.slot}": log.slot != self.slot,
            f"slot {self.slot} was advanced to {lsn_text(slot.confirmed)}, beyond the checkpoint at {log.lsn}":
                slot.confirmed > self.since,
            f"publication {self.publication} is not as it was, or a partition was emptied": moved,
            "the table was written anew, with values that the log does not tell":
                self.found.storage.rewritten_since(file),
            f"the checkpoint at {log.lsn} holds slot {self.slot} back further than max_slot_lag allows":
                self.since < oldest,
        }  # fmt: skip
        return next((reason for reason, holds in reasons.items() if holds), "")

    def give_up(self, why: str) -> None:
        """Read the whole table instead of a log that turned out to be unclear."""
        self.gap, self.everything, self.by_log = why, True, False

    # --- positions ---

    def position(self, lsn: int) -> Position:
        """Return where the stream stands once everything before ``lsn`` is merged."""
        found = self.found
        return Position(
            found.extraction.capture.name, found.relation.identity, found.selection.schema.primary_key,
            found.selection.names, found.relation.last_column, shape=shape(found.relation, found.selection),
            appends=found.extraction.mode is WriteMode.APPEND,
            snapshot=SnapshotPosition(str(found.epoch), found.xmin),
            log=LogPosition(lsn_text(lsn), self.slot, self.publication, self._told),
        )  # fmt: skip

    @property
    def _told(self) -> str:
        return f"{self.publishing.identity} {self.found.storage.file}"

    def reached(self, reached: Reached) -> None:
        """Take note of up to where the log was read."""
        self._reached = reached

    # --- the log ---

    def log(self, folder: Path) -> TableLog:
        """Return what takes the changes."""
        own = folder / str(self.found.relation.oid)
        own.mkdir()
        names: list[tuple[str, ...]] = []
        fold = Fold(own, names, every=self._every)
        found = self.found
        since = found.since.columns if found.since else ()
        known = frozenset((*(column.name for column in found.relation.columns), *since))
        sources = {column.column.name: column.source.name for column in found.selection.columns}
        before = {sources[name]: old for name, old in found.additions.renamed.items()}
        return TableLog(
            found.relation.oid, found.extraction.source, found.selection, found.key, before, known, self.since, fold,
            names,
        )  # fmt: skip

    @property
    def _every(self) -> bool:
        return self.found.extraction.mode is WriteMode.HISTORY

    def log_changes(self, log: TableLog, control: Connection, folder: Path, notes: tuple[str, ...]) -> ChangeSet:
        """Say what the log holds."""
        if self._reached is None:
            raise ValueError("the log was not read")
        reached, found = self._reached, self.found
        rows = LogRows(log, found.relation, control, folder / str(found.relation.oid), self._every)
        complete = log.emptied is not None
        idle = not (log.fold.changes or complete or found.additions.backfill)
        as_of = datetime.fromtimestamp(log.emptied / 1e6, UTC) if log.emptied is not None else reached.now
        return ChangeSet(
            schema=found.selection.schema, streams=[rows.rows()],
            deletes=[] if complete and not self._every else [rows.gone()],
            position=self._idle(reached) if idle else self.position(reached.until), complete=complete, cursor="",
            backfill=found.additions.backfill, interval=None,
            facts=self.facts(control, {
                "changes": f"{log.fold.changes}", "from": lsn_text(self.since), "to": lsn_text(reached.until),
                "lag_bytes": f"{reached.left}", "lag_seconds": f"{reached.age}",
            }),
            renamed=found.additions.renamed,
            notes=(*self.notes, *notes, _told(log, reached)), unchanged=rows.unchanged, as_of=as_of.isoformat(),
        )  # fmt: skip

    def _idle(self, reached: Reached) -> Position:
        """Stay where the stream is, so that a run without changes writes nothing, unless the slot has to move."""
        now, since = self.position(reached.until), self.found.since
        capture = self.found.extraction.capture
        most = min(IDLE_BYTES, capture.max_slot_lag // 4) if isinstance(capture, Wal) else IDLE_BYTES
        if since is None or since.snapshot is None or reached.until - self.since >= most:
            return now
        if has_aged(since.snapshot.xmin, self.found.xmin):
            return now
        return replace(now, log=since.log, snapshot=since.snapshot)

    def facts(self, connection: Connection, more: dict[str, str]) -> dict[str, str]:
        """Return what a person would like to know."""
        version, now = query_rows(connection, "SELECT current_setting('server_version'), now()::text")[0]
        relation = self.found.relation
        return {
            "server": f"PostgreSQL {version}", "kind": KINDS[relation.kind], "source": relation.identity,
            "read_at": now, "slot": self.slot, "publication": self.publication, **more,
        }  # fmt: skip


def _told(log: TableLog, reached: Reached) -> str:
    emptied = ", the table was emptied in between" if log.emptied is not None else ""
    return (
        f"log: {log.fold.changes:,} changes in {reached.until - log.since:,} bytes up to {lsn_text(reached.until)}"
        f"{emptied}; newest commit {reached.age:,.1f} s ago, {reached.left:,} bytes of the log left unread"
    )
