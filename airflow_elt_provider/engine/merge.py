"""The second and third step: staged files become rows of the target."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.load import Load, Piece, StagingRef
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Merging
from airflow_elt_provider.core.protocols import Commit, Destination, Stage
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.core.verification import refuse_count
from airflow_elt_provider.engine.extract import stream_folder
from airflow_elt_provider.engine.progress import Progress
from airflow_elt_provider.engine.quarantine import SetAsideByMerge
from airflow_elt_provider.errors import ConfigurationError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncResult:
    """What one load did.

    :param bytes_staged: size of the staged files.
    :param checkpoint: the position after the load, as a person would write it; None while there is none.
    :param seconds: per step.
    :param manifest: the load's, where it was read; for lineage.
    :param consistent: whether all rows that were merged are of one snapshot; if not, the next run brings what moved.
    """

    load_id: str
    stream: str
    extracted: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    quarantined: int = 0
    bytes_staged: int = 0
    checkpoint: str | None = None
    schema_changes: tuple[dict[str, str], ...] = ()
    nulled: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    manifest: Manifest | None = None
    consistent: bool = True

    @classmethod
    def of(
        cls, receipt: Receipt, manifest: Manifest | None = None, seconds: dict[str, float] | None = None
    ) -> SyncResult:
        """Return what a receipt says."""
        return cls(
            receipt.load_id, receipt.stream, receipt.extracted, receipt.inserted, receipt.updated, receipt.deleted,
            receipt.quarantined, manifest.size if manifest else receipt.bytes, _spoken(receipt.position),
            receipt.schema_changes, receipt.nulled, seconds or {}, manifest, receipt.consistent,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the result of the operators' documentation."""
        return {
            "load_id": self.load_id, "stream": self.stream, "extracted": self.extracted, "inserted": self.inserted,
            "updated": self.updated, "deleted": self.deleted, "quarantined": self.quarantined,
            "bytes_staged": self.bytes_staged, "checkpoint": self.checkpoint,
            "schema_changes": list(self.schema_changes), "nulled": self.nulled, "consistent": self.consistent,
            "seconds": self.seconds,
        }  # fmt: skip


def refuse_unreadable(stage: Stage, destination: Destination) -> None:
    """Refuse a stage that the destination cannot load from.

    :raises ConfigurationError: names both.
    """
    reads = destination.capabilities.reads
    if stage.scheme not in reads:
        schemes = ", ".join(f"{scheme}://" for scheme in sorted(reads))
        raise ConfigurationError(
            f"The destination cannot load from stage {stage.root}.", hint=f"use a stage that begins with {schemes}"
        )


def refuse_options(merging: Merging, destination: Destination) -> None:
    """Refuse a table option that the destination does not know.

    :raises ConfigurationError: names it, and those that are known.
    """
    known = destination.capabilities.table_options
    for option in merging.table_options:
        if option not in known:
            raise ConfigurationError(
                f"table_options of {merging.target}: the destination knows no option {option!r}.",
                hint=f"use one of {', '.join(sorted(known))}" if known else "leave table_options out: it has none",
            )


def refuse_unsafe(target: TableRef, mode: WriteMode, deletes: DeleteMode, destination: Destination) -> None:
    """Refuse what cannot be repeated safely where a destination has no transactions.

    :raises ConfigurationError: names the setting that would allow it.
    """
    capabilities = destination.capabilities
    if capabilities.commit is not Commit.GUARDED:
        return
    what = f"mode={mode.value!r}" if mode is not WriteMode.MERGE else f"deletes={deletes.value!r}"
    if mode is not WriteMode.MERGE or deletes is DeleteMode.HARD:
        raise ConfigurationError(
            f"{target}: {what} needs transactions, and this destination works without them: a load that broke off "
            "half-way could lose or repeat rows.",
            hint=f"{capabilities.remedy}; or use mode='merge' with deletes='ignore' or 'soft'".lstrip("; "),
        )


def stage_load(ref: ManifestRef, target: TableRef, destination: Destination, stage: Stage) -> StagingRef:
    """Bring a load's files into a staging table of its own.

    :raises DataError: when the files are gone and the load was not merged either.
    """
    refuse_unreadable(stage, destination)
    started = Progress("stage")
    manifest = read_manifest(ref, destination, stage)
    seconds = {"extract": ref.seconds}
    if isinstance(manifest, Receipt):
        log.info("%s: stage: load %s is merged already", manifest.stream, manifest.load_id)
        return StagingRef(ref, str(target), "", seconds)
    refuse_unsafe(target, manifest.mode, manifest.deletes, destination)
    known = ref if ref.load_id else ManifestRef(ref.uri, ref.sha256, manifest.load_id, manifest.changes, manifest.size)
    if not manifest.rows:
        log.info("%s: stage: nothing to stage", manifest.stream)
        return StagingRef(known, str(target), "", {**seconds, "stage": 0.0})
    load = Load(manifest, known, Merging(target=target))
    try:
        staging = destination.ingest(load, stage)
    except FileNotFoundError as error:
        raise gone(ref, error) from error
    took = round(started.seconds, 3)
    where = staging or "read in place by merge"
    log.info("%s: stage: %s rows in %d files, %s, %.2f s", manifest.stream, f"{manifest.rows:,}", len(manifest.files),
             where, took)  # fmt: skip
    return StagingRef(known, str(target), staging, {**seconds, "stage": took})


def merge_load(staged: StagingRef, merging: Merging, destination: Destination, stage: Stage) -> SyncResult:
    """Publish a staged load, or return what its receipt says.

    :raises StaleLoadError: when the stream moved on since the load was extracted.
    :raises DataError: when a check, a guard or the drift policy says no, or the load's files are gone.
    """
    refuse_unreadable(stage, destination)
    refuse_options(merging, destination)
    manifest = read_manifest(staged.manifest, destination, stage)
    if isinstance(manifest, Receipt):
        return told(manifest, None, staged.seconds)
    if manifest.partition:
        raise ConfigurationError(
            f"{manifest.stream}: {staged.manifest.uri} is partition {manifest.partition} of its table.",
            hint="give merge all of them: staged=[...], or the output of the mapped StageOperator",
        )
    return merge_manifest(staged, manifest, merging, destination, stage)


def merge_manifest(
    staged: StagingRef,
    manifest: Manifest,
    merging: Merging,
    destination: Destination,
    stage: Stage,
    pieces: tuple[Piece, ...] = (),
) -> SyncResult:
    """Publish a staged load whose manifest is known; see :func:`merge_load`.

    :param pieces: the staging tables, where there are several.
    """
    started = Progress("merge")
    refuse_unsafe(merging.target, manifest.mode, manifest.deletes, destination)
    _refuse_other_plan(manifest, merging)
    if manifest.changes_nothing:
        refuse_count(merging, 0)
        log.info("%s: merge: nothing new", manifest.stream)
        return SyncResult(
            manifest.load_id, manifest.stream, checkpoint=_spoken(manifest.next_position), manifest=manifest,
            seconds={**staged.seconds, "merge": round(started.seconds, 3)},
        )  # fmt: skip
    looked_for = manifest.rows and not pieces
    staging = staged.staging or (destination.staged(manifest.load_id) if looked_for else None) or ""
    folder = f"{stream_folder(manifest.stream)}/{manifest.load_id}"
    aside = SetAsideByMerge(stage, folder, manifest.stream)
    load = Load(manifest, staged.manifest, merging, staging, set_aside=aside, pieces=pieces)
    try:
        receipt = _commit(load, destination, stage)
    except FileNotFoundError as error:
        raise gone(staged.manifest, error) from error
    return told(receipt, manifest, {**staged.seconds, "merge": round(started.seconds, 3)})


def _commit(load: Load, destination: Destination, stage: Stage) -> Receipt:
    known = destination.receipt(load.load_id)
    if known:
        log.info("%s: merge: load %s is merged already", known.stream, known.load_id)
        destination.discard(load)
        return known
    changes = destination.prepare(load)
    for change in changes:
        log.warning("%s: schema: %s column %r: target %s, source %s -> %s", load.manifest.stream, change.drift.value,
                    change.column, change.before or "-", change.after or "-", change.done.value)  # fmt: skip
    return destination.commit(load, stage, changes)


def read_manifest(ref: ManifestRef, destination: Destination, stage: Stage) -> Manifest | Receipt:
    """Return a load's manifest; where it is gone, the receipt that makes it needless.

    :raises DataError: when there is neither.
    """
    try:
        manifest = Manifest.from_bytes(stage.read(ref.uri), ref)
        if manifest.external:
            raise ConfigurationError(
                f"{ref.uri} lists files that were not staged, {manifest.external[0].uri} among them: only the task "
                "that found them can load them.", hint="clear the SyncTableOperator, or extract with an ExtractOperator"
            )  # fmt: skip
        return manifest  # noqa: TRY300 - the refusal is none of what is caught
    except FileNotFoundError as error:
        load_id = ref.load_id or ref.uri.rstrip("/").split("/")[-2]
        receipt = destination.receipt(load_id)
        if receipt:
            return receipt
        raise gone(ref, error) from error


def gone(ref: ManifestRef, error: FileNotFoundError) -> DataError:
    """Return the error for a load whose files are gone."""
    return DataError(
        f"{error.filename or error} of load {ref.load_id or ref.uri} is gone from the stage; the load was not merged.",
        hint="clear the load from its extract task on (stage files are kept for [elt] stage_retention)",
    )


def _refuse_other_plan(manifest: Manifest, merging: Merging) -> None:
    for name, asked, made in (("mode", merging.mode, manifest.mode), ("deletes", merging.deletes, manifest.deletes)):
        if asked not in {None, made}:
            raise ConfigurationError(
                f"{manifest.stream} was extracted for {name}={made.value!r}, and merge is asked for {asked!s}.",
                hint=f"give both tasks the same {name}, or leave it out of the merge task",
            )


def _spoken(position: Position | None) -> str | None:
    return str(position or "") or None


def told(receipt: Receipt, manifest: Manifest | None, seconds: dict[str, float]) -> SyncResult:
    """Log what a load did, and return it."""
    log.info(
        "%s: merge: %s inserted, %s updated, %s deleted of %s staged (load %s)", receipt.stream,
        f"{receipt.inserted:,}", f"{receipt.updated:,}", f"{receipt.deleted:,}", f"{receipt.extracted:,}",
        receipt.load_id,
    )  # fmt: skip
    for column, count in receipt.nulled.items():
        log.warning(
            "%s: %s values of %r have no equal in the destination and are NULL", receipt.stream, f"{count:,}", column
        )
    return SyncResult.of(receipt, manifest, seconds)
