"""What a sync would read, write and change, found out without doing any of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from airflow_elt_provider.core.evolve import Evolution, refuse_unusable
from airflow_elt_provider.core.load import Load, RunIdentity
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.masking import Masks
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Extraction, Interval, Merging
from airflow_elt_provider.core.preview import MeasurableSource, Measured, PreviewingDestination
from airflow_elt_provider.core.protocols import ChangeSet, Destination, Memory, Source, Stage
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.text_table import text_table
from airflow_elt_provider.engine import state_files
from airflow_elt_provider.engine.merge import refuse_options, refuse_unreadable, refuse_unsafe
from airflow_elt_provider.engine.progress import Progress
from airflow_elt_provider.engine.start import Start, StreamState, starting_point
from airflow_elt_provider.errors import DataError

log = logging.getLogger(__name__)

_PREDICATE: Final = "rows"
"""The fact in which sources say which rows they read."""
_NONE: Final = "none"


@dataclass(frozen=True)
class Plan:
    """What a sync would do.

    :param checkpoint: where the stream stands, as a person would write it; None while there is no checkpoint.
    :param predicate: which rows would be read, in the source's SQL; "" where the source does not say.
    :param measured: how many these are; None where nobody can say without reading them.
    :param complete: whether that is the whole table.
    :param ddl: what would be done to the target.
    :param changes: what is found to differ between the two schemas, and what is done about it.
    :param merge: what the merge would do, in words.
    :param refused: why the load would be refused; "" where it would not.
    """

    stream: str
    source: str
    target: str
    capture: str
    mode: WriteMode
    deletes: DeleteMode
    checkpoint: str | None
    schema: TableSchema
    predicate: str
    measured: Measured | None
    complete: bool
    source_rows: int | None
    ddl: tuple[str, ...]
    changes: tuple[dict[str, str], ...]
    merge: tuple[str, ...]
    masked: Mapping[str, str]
    facts: Mapping[str, str]
    notes: tuple[str, ...]
    refused: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the result of the operators' documentation."""
        measured = self.measured
        columns = [{"name": column.name, "type": str(column.type)} for column in self.schema.columns]
        return {
            "stream": self.stream, "source": self.source, "target": self.target, "capture": self.capture,
            "mode": self.mode, "deletes": self.deletes, "checkpoint": self.checkpoint, "complete": self.complete,
            "predicate": self.predicate, "rows": measured.rows if measured else None,
            "rows_exact": measured.exact if measured else None, "bytes": measured.bytes if measured else None,
            "source_rows": self.source_rows, "columns": columns, "primary_key": list(self.schema.primary_key),
            "ddl": list(self.ddl), "schema_changes": list(self.changes), "merge": list(self.merge),
            "masked": dict(self.masked), "facts": dict(self.facts), "notes": list(self.notes),
            "refused": self.refused, "seconds": self.seconds,
        }  # fmt: skip

    def __str__(self) -> str:
        """Everything as a table for the log."""
        rows = [(what, line) for what, text in self._lines() for line in _wrapped(text)]
        shown = [[what if not at or rows[at - 1][0] != what else "", line] for at, (what, line) in enumerate(rows)]
        head = f"plan of {self.stream} (nothing was written)"
        return f"{head}\n\n{text_table(['what', 'would happen'], shown)}"

    def _lines(self) -> Iterator[tuple[str, str]]:
        if self.refused:
            yield "refused", self.refused
        yield "read", f"{self.source}, capture {self.capture}: {self._amount()}"
        if self.predicate not in {"", "true"}:
            yield "rows", self.predicate
        yield "checkpoint", "none yet" if self.checkpoint is None else self.checkpoint or "there is one"
        yield "columns", ", ".join(self.schema.names)
        yield "key", ", ".join(self.schema.primary_key) or "none"
        for name, how in self.masked.items():
            yield "masked", f"{name}: {how}"
        for note in self.notes:
            yield "note", note
        for sql in self.ddl:
            yield "DDL", sql
        if not self.ddl:
            yield "DDL", "none"
        for change in self.changes:
            yield "drift", "{class} {column}: {before} -> {after}, {done}".format_map(change)
        for sentence in self.merge:
            yield "merge", sentence

    def _amount(self) -> str:
        if self.predicate == _NONE:
            return "nothing"
        if self.measured is None:
            return "the whole table" if self.complete else "what changed"
        about = "" if self.measured.exact else "about "
        size = "" if self.measured.bytes is None else f", about {self.measured.bytes / 1e6:,.1f} MB as text"
        return f"{about}{self.measured.rows:,} rows{size}{', the whole table' if self.complete else ''}"


def _wrapped(text: str, most: int = 84) -> list[str]:
    """Return lines of words; a word that is too long is cut."""
    lines: list[str] = []
    for word in " ".join(text.split()).split(" "):
        rest = word
        if lines and len(lines[-1]) + 1 + len(rest) <= most:
            lines[-1] += f" {rest}"
            continue
        while rest:
            lines.append(rest[:most])
            rest = rest[most:]
    return lines or [""]


@dataclass(frozen=True)
class Planning:
    """One plan of one table's journey.

    :param stage: None where there is none: what an extract left for the next one then cannot be looked at.
    :param keys: as :class:`~airflow_elt_provider.engine.extract.Extract` takes them.
    """

    extraction: Extraction
    merging: Merging
    run: RunIdentity
    source: Source
    stage: Stage | None
    destination: Destination
    keys: Mapping[str, Secret] = field(default_factory=dict)

    def execute(self) -> Plan:
        """Find out.

        :raises ConfigurationError: for whatever would keep the sync from beginning.
        """
        started = Progress("plan")
        extraction, stream = self.extraction, self.extraction.stream
        if self.stage:
            refuse_unreadable(self.stage, self.destination)
        refuse_options(self.merging, self.destination)
        refuse_unsafe(self.merging.target, extraction.mode, extraction.deletes, self.destination)
        masks = Masks.of(extraction, self.keys)
        state = StreamState.read(self.destination, extraction, self.run)
        start = starting_point(extraction, self.run, state)
        memory = state_files.recall(self.stage, stream, start.remembered) if self.stage else Memory()
        asked = replace(masks.asked_of_source(extraction), dry_run=True)
        with self.source.changes(asked, start.since, start.until, memory) as changes:
            refuse_unusable(changes.schema, extraction.mode, extraction.source)
            masks.refuse_key(changes.schema, extraction)
            if start.since and not extraction.full_refresh:
                masks.refuse_change(start.since, changes.position, changes.renamed)
            plan = self._plan(changes, masks, start, state)
        predicate, measured = plan.predicate, None
        if predicate not in {"", _NONE} and isinstance(self.source, MeasurableSource):
            measured = self.source.measure(asked, predicate)
        return replace(plan, measured=measured, seconds=round(started.seconds, 3))

    def cancel(self) -> None:
        """Stop what runs on either server; safe from another thread."""
        self.source.cancel()
        self.destination.cancel()

    # --- inside ---

    def _plan(self, changes: ChangeSet, masks: Masks, start: Start, state: StreamState) -> Plan:
        extraction, schema = self.extraction, masks.schema(changes.schema)
        evolution, refused, notes = self._previewed(self._load(changes, schema, start))
        position = state.checkpoint.position if state.checkpoint else None
        return Plan(
            stream=extraction.stream, source=extraction.source, target=str(self.merging.target),
            capture=extraction.capture.name, mode=extraction.mode, deletes=extraction.deletes,
            checkpoint=str(position) if position else None, schema=schema,
            predicate=changes.facts.get(_PREDICATE, ""), measured=None, complete=changes.complete,
            source_rows=changes.source_rows, ddl=tuple(evolution.ddl),
            changes=tuple(change.to_json() for change in evolution.changes),
            merge=tuple(self._merge(changes, schema, start)), masked=_masked(extraction, masks), facts=changes.facts,
            notes=(*changes.notes, *notes), refused=refused, seconds=0.0,
        )  # fmt: skip

    def _previewed(self, load: Load) -> tuple[Evolution, str, tuple[str, ...]]:
        if not isinstance(self.destination, PreviewingDestination):
            note = f"{type(self.destination).__name__} cannot say which DDL it would need"
            return Evolution((), ()), "", (note,)
        try:
            return self.destination.preview(load), "", ()
        except DataError as error:
            return Evolution((), ()), str(error), ()

    def _load(self, changes: ChangeSet, schema: TableSchema, start: Start) -> Load:
        """Return the load as it would arrive, without files."""
        extraction = self.extraction
        manifest = Manifest(
            load_id=self.run.load_id(extraction.stream), run_key=self.run.run_key(extraction.stream),
            stream=extraction.stream, source=extraction.source, mode=extraction.mode, deletes=extraction.deletes,
            schema=schema, files=(), base_version=start.base_version, next_position=changes.position,
            base_position=start.since, complete=changes.complete,
            interval=Interval(*changes.interval) if changes.interval else None, replaces=start.replaces,
            backfill=changes.backfill, renamed=changes.renamed, cursor=changes.cursor,
            full_refresh=extraction.full_refresh,
        )  # fmt: skip
        merging = replace(self.merging, mode=extraction.mode, deletes=extraction.deletes)
        return Load(manifest, ManifestRef(""), merging)

    def _merge(self, changes: ChangeSet, schema: TableSchema, start: Start) -> Iterator[str]:
        extraction, guards = self.extraction, self.merging.guards
        key = ", ".join(schema.primary_key)
        yield {
            WriteMode.MERGE: f"rows are matched by {key}: changed ones are updated, new ones inserted",
            WriteMode.APPEND: "all rows are inserted, stamped with the load's id",
            WriteMode.REPLACE: "the target's rows are exchanged for these, in one transaction",
            WriteMode.HISTORY: f"a changed row ends the current version of its {key} and begins another",
        }[extraction.mode]
        if changes.interval:
            yield f"only rows of the interval from {changes.interval[0]} to {changes.interval[1]}; the checkpoint stays"
        if start.replaces:
            yield f"the rows of {len(start.replaces)} earlier loads of this run go first"
        if extraction.deletes is not DeleteMode.IGNORE:
            how = "marked in _elt_deleted_at" if extraction.deletes is DeleteMode.SOFT else "deleted"
            most = (
                f"up to {guards.max_delete_ratio:.0%} of the target (fewer than {guards.min_deletes_for_ratio} always)"
            )
            yield f"rows that are gone from the source are {how}, {most}"
        for column in changes.backfill:
            yield f"rows from before {column} was added get the value that the source gave them"
        if not guards.allow_empty and (
            extraction.mode is WriteMode.REPLACE or extraction.deletes is not DeleteMode.IGNORE
        ):
            yield "an empty source is refused over a target that has rows"
        for check in self.merging.checks:
            yield f"checked in the same transaction: {check}"
        yield f"up to {guards.max_quarantined_rows} rows that do not fit may be set aside"


def _masked(extraction: Extraction, masks: Masks) -> dict[str, str]:
    return {extraction.target_name(column): how for column, how in masks.identity.items()}
