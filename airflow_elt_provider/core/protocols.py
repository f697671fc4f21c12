"""What the engine asks of sources, stages and destinations. Everything here may be called twice with one effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa

from airflow_elt_provider.core.buckets import Buckets
from airflow_elt_provider.core.checkpoint import Checkpoint, Position
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.load import Lend, Load
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.core.table_ref import TableRef


class Commit(StrEnum):
    """How a destination makes rows, checkpoint and receipt appear together."""

    TRANSACTION = "transaction"
    TABLE_VERSION = "table_version"
    GUARDED = "guarded"


@dataclass(frozen=True)
class Capabilities:
    """What a destination can do.

    :param commit: how it commits.
    :param reads: schemes of the stages it can load from.
    :param table_options: what ``table_options`` may say when it creates a target.
    :param in_place: whether it takes the bytes of a CSV file as they are, see :class:`ChangeSet`.
    :param remedy: of a ``guarded`` destination: the setting with which it would commit by transactions.
    """

    commit: Commit
    reads: frozenset[str]
    table_options: frozenset[str] = frozenset()
    remedy: str = ""
    in_place: bool = False


@dataclass(frozen=True)
class Memory:
    """What a source is told of its own past, beside the position.

    :param state: the content of the state file that the position names, or, for a run that repeats what it read, that
        the checkpoint names; None where there is none, or it is gone.
    """

    state: bytes | None = None


@dataclass(frozen=True)
class Outcome:
    """Where a stream stands once everything was drained.

    :param state: the content of the state file that the position is to name; None for none.
    :param source_rows: how many rows the source has, where that is known only then.
    """

    position: Position
    state: bytes | None = None
    source_rows: int | None = None


@dataclass(frozen=True)
class Portion:
    """A part of a whole table, read under a snapshot of its own, so that a crash loses no more than one.

    :param streams: as those of a :class:`ChangeSet`.
    :param done: what the source has to know, once these rows are staged, to go on behind them.
    """

    streams: Sequence[Iterator[pa.RecordBatch]]
    done: bytes


class Portions(Protocol):
    """The portions of a whole table, one behind the other."""

    @property
    def plan(self) -> str:
        """Identity of what is read: portions of two plans are never mixed."""

    def is_over(self, done: Sequence[bytes]) -> bool:
        """Whether none is left behind those that are done."""

    def open(self, done: Sequence[bytes]) -> AbstractContextManager[Portion]:
        """Open the next portion behind those that are done, by whichever attempt.

        :raises TransientError: when the table has changed so that it does not go with them.
        """

    def outcome(self, done: Sequence[bytes]) -> Outcome:
        """Say where the stream stands once all of them are merged."""


@dataclass(frozen=True)
class ChangeSet:
    """What a source has to give, under one snapshot. Drain every stream before leaving the context it came from.

    First all of ``streams``, at once; then those of ``deletes``, one after the other; then those of ``keys``.

    :param schema: columns and key as named in the target.
    :param streams: disjoint parts of the rows as they are now; each may be drained by a thread of its own. Batches have
        the schema's wire types, with or without some of the columns of
        :data:`~airflow_elt_provider.core.schema.EXTRA_COLUMNS`.
    :param deletes: keys that are gone: batches with the key's columns and ``_elt_op`` = ``d``; the other columns are
        filled in by whoever writes them.
    :param keys: buckets that changed, and the keys that are in them now, but for those in ``streams``; likewise.
    :param position: where the stream stands once all of this is merged.
    :param outcome: asked after everything was drained, in the place of ``position``, where that is known only then, or
        where there is a state file to keep.
    :param complete: whether this is the whole table.
    :param backfill: column -> value of the rows written before the column was added, as text; None for NULL.
    :param renamed: column -> its name at the last load, both as named in the target.
    :param interval: the interval with its bounds in the cursor column's own canonical text.
    :param buckets: how the buckets of ``keys`` are told.
    :param unchanged: sets of columns that some rows do not bring, see ``_elt_op``.
    :param source_rows: how many rows the source has, where the capture knows.
    :param as_of: the time of the snapshot by the source's clock, ISO 8601 with time zone.
    :param quarantine: where the source puts rows that it cannot read; None where it knows no such thing.
    :param portions: of a whole table that is read bit by bit, in the place of ``streams``, ``outcome`` and
        ``source_rows``; None where it is read in one go.
    :param in_place: files that need not be staged, of role ``external``; in the place of all streams.
    :param lend: opens one of them; also after the context was left.
    :param facts: what a person would like to know of the source, for the manifest.
    :param notes: sentences for the log.
    """

    schema: TableSchema
    streams: Sequence[Iterator[pa.RecordBatch]]
    position: Position
    complete: bool
    cursor: str
    backfill: Mapping[str, str | None]
    interval: tuple[str, str] | None
    facts: Mapping[str, str]
    notes: Sequence[str] = ()
    deletes: Sequence[Iterator[pa.RecordBatch]] = ()
    keys: Sequence[Iterator[pa.RecordBatch]] = ()
    outcome: Callable[[], Outcome] | None = None
    buckets: Buckets | None = None
    unchanged: Sequence[tuple[str, ...]] = ()
    source_rows: int | None = None
    as_of: str = ""
    quarantine: Quarantine | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    portions: Portions | None = None
    in_place: Sequence[StagedFile] = ()
    lend: Lend | None = None


class Source(Protocol):
    """Reads tables."""

    def changes(
        self,
        extraction: Extraction,
        since: Position | None,
        until: Position | None = None,
        memory: Memory | None = None,
    ) -> AbstractContextManager[ChangeSet]:
        """Open one snapshot and give what changed after ``since`` (None: everything), up to ``until`` where given.

        :param memory: what an earlier extract kept for this one; None for nothing.

        :raises ConfigurationError: for a missing table, column or privilege, or a capture that does not fit.
        """

    def tables(self, schema: str) -> Sequence[TableRef]:
        """List the tables (partitions apart) and materialized views of a schema."""

    def cancel(self) -> None:
        """Stop what runs on the server; safe to call from another thread, and when nothing runs."""


@dataclass(frozen=True)
class StoredFile:
    """A file as a stage lists it.

    :param version: what another content of the same name would change, beside size and time; "" where the store has
        no such thing.
    :param changed: since when it is as it is, by the store's clock, where ``modified`` can be set by anybody.
    """

    uri: str
    bytes: int
    modified: datetime
    version: str = ""
    changed: datetime | None = None


class Stage(Protocol):
    """Keeps files and never overwrites one."""

    @property
    def root(self) -> str:
        """URI under which everything lies."""

    @property
    def scheme(self) -> str:
        """``file``, ``s3``, ..."""

    def workspace(self) -> AbstractContextManager[Path]:
        """A local folder in which parts are written before :meth:`put`; removed at the end."""

    def put(self, local: Path, path: str) -> str:
        """Move a finished file to ``path`` below the root and return its URI."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file unless one is there, atomically; False when one was."""

    def read(self, uri: str) -> bytes:
        """Return a small file. :raises FileNotFoundError: when it is gone."""

    def fetch(self, uri: str) -> AbstractContextManager[Path]:
        """A local copy (or the file itself) to read. :raises FileNotFoundError: when it is gone."""

    def exists(self, uri: str) -> bool:
        """Whether the file is there."""

    def list(self, path: str = "") -> Iterator[StoredFile]:
        """List the files below ``path``."""

    def delete(self, uris: Sequence[str]) -> None:
        """Delete files; those that are gone already do not matter."""

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Remove what killed tasks left unfinished (work folders, uploads; never files) and return the names."""


@runtime_checkable
class KeepsConnection(Protocol):
    """A destination that need not log in anew for everything it is asked."""

    def kept(self) -> AbstractContextManager[None]:
        """Within the block, use one connection for what is done in quick succession."""


class Destination(Protocol):
    """Keeps targets, checkpoints and receipts."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def checkpoint(self, stream: str) -> Checkpoint | None:
        """Return the stream's checkpoint."""

    def receipt(self, load_id: str) -> Receipt | None:
        """Return the proof that a load was merged."""

    def receipts(self, stream: str, run_key: str | None = None) -> Sequence[Receipt]:
        """Return the receipts of a stream, oldest first; of one run where ``run_key`` is given."""

    def prepare(self, load: Load) -> tuple[SchemaChange, ...]:
        """Create or widen the target as the drift policy says: additive DDL only, safe to leave behind."""

    def ingest(self, load: Load, stage: Stage) -> str:
        """Bring the files into this attempt's staging table and return its name ("": read in place by merge)."""

    def staged(self, load_id: str) -> str | None:
        """Return the newest complete staging table of a load, for a merge that was given only the manifest."""

    def commit(self, load: Load, stage: Stage, changes: Sequence[SchemaChange]) -> Receipt:
        """Publish rows, checkpoint and receipt: all or none.

        :raises StaleLoadError: when the checkpoint has moved.
        """

    def discard(self, load: Load) -> None:
        """Drop this attempt's staging table."""

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Drop staging tables of dead attempts and return their names."""

    def forget(self, stream: str) -> bool:
        """Forget a stream's checkpoint (not its rows, nor its receipts); False when there was none."""

    def cancel(self) -> None:
        """Stop what runs on the server; safe to call from another thread, and when nothing runs."""
