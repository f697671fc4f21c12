"""The first step for several tables whose changes one replication slot hands out: the log is read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Final, Protocol

from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.manifest import ManifestRef
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import ChangeSet, Memory, Source, Stage
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.start import StreamState, starting_point
from airflow_elt_provider.errors import ConfigurationError


class LogSource(Protocol):
    """A source that keeps a log of changes."""

    def log_changes(
        self, asked: Sequence[tuple[Extraction, Position | None]]
    ) -> AbstractContextManager[Sequence[ChangeSet]]:
        """Read the log once for several tables, each since its own position, under one capture ``wal``.

        The slot is advanced to the smallest of the positions. A table that holds it back further than
        ``max_slot_lag``, and one whose log has a gap, is read from the table itself.
        """

    def tables(self, schema: str) -> Sequence[TableRef]:
        """List the tables of a schema."""

    def cancel(self) -> None:
        """Stop what runs on the server; safe to call from another thread, and when nothing runs."""


@dataclass(frozen=True)
class ExtractSlot:
    """One extract of all tables of a slot.

    :param tables: what to read, and what the destination remembers of each stream.
    :param named: may give a table's source a name for lineage.
    """

    tables: Sequence[tuple[Extraction, StreamState]]
    run: RunIdentity
    source: LogSource
    stage: Stage
    keys: Mapping[str, Secret] = field(default_factory=dict)
    named: Callable[[Source, Extraction], Source] = field(default=lambda source, _: source)

    def execute(self) -> list[ManifestRef]:
        """Read the log and publish a manifest for each table; what a former attempt published is used again.

        :raises ConfigurationError: when a table does not fit, before anything moved.
        """
        self._refuse_twins()
        with ExitStack() as stack:
            shared = _Shared(self.source, stack)
            extracts: list[Extract] = []
            for extraction, state in self.tables:
                source = self.named(_TableOfLog(shared, len(extracts)), extraction)
                extract = Extract(extraction, self.run, source, self.stage, state, self.keys)
                since = starting_point(extraction, self.run, state).since
                shared.asked.append((extract.masks.asked_of_source(extraction), since))
                extracts.append(extract)
            return [extract.execute() for extract in extracts]

    def _refuse_twins(self) -> None:
        for what, names in (
            ("table", [extraction.source for extraction, _ in self.tables]),
            ("stream", [extraction.stream for extraction, _ in self.tables]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                hint = "name each once; give a second target a slot of its own"
                raise ConfigurationError(f"{what.capitalize()} {twice} is named twice.", hint=hint)
        if not self.tables:
            raise ConfigurationError("The slot has no table.", hint="name some: tables=[{'source_table': ...}]")


_UNREAD: Final[Sequence[ChangeSet]] = ()


@dataclass
class _Shared:
    """The log, read when the first table is asked for."""

    source: LogSource
    stack: ExitStack
    asked: list[tuple[Extraction, Position | None]] = field(default_factory=list)
    found: Sequence[ChangeSet] = _UNREAD

    def of(self, number: int) -> ChangeSet:
        """Return one table's changes."""
        if self.found is _UNREAD:
            self.found = self.stack.enter_context(self.source.log_changes(self.asked))
        return self.found[number]


@dataclass(frozen=True)
class _TableOfLog:
    """One table of a shared log, as a source."""

    shared: _Shared
    number: int

    def changes(
        self,
        extraction: Extraction,
        since: Position | None,
        until: Position | None = None,
        memory: Memory | None = None,
    ) -> AbstractContextManager[ChangeSet]:
        """Give the table's changes."""
        del extraction, since, until, memory
        return nullcontext(self.shared.of(self.number))

    def tables(self, schema: str) -> Sequence[TableRef]:
        """List the tables of a schema."""
        return self.shared.source.tables(schema)

    def cancel(self) -> None:
        """Stop what runs on the server."""
        self.shared.source.cancel()
