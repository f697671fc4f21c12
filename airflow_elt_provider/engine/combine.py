"""Partitions of one table, each extracted and staged by itself, become one load and are merged once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.fingerprints import Fingerprints, State
from airflow_elt_provider.core.load import Piece, StagingRef, combined_load_id
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.plan import Merging
from airflow_elt_provider.core.protocols import Destination, Outcome, Stage
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.engine import state_files
from airflow_elt_provider.engine.extract import reference_of, stream_folder
from airflow_elt_provider.engine.merge import (
    SyncResult,
    gone,
    merge_load,
    merge_manifest,
    refuse_options,
    refuse_unreadable,
    told,
)
from airflow_elt_provider.errors import ConfigurationError, DataError, StaleLoadError

log = logging.getLogger(__name__)
_PLAN_ANEW = "clear the load from the task that plans the partitions on"


def merge_partitions(
    staged: Sequence[StagingRef], merging: Merging, destination: Destination, stage: Stage
) -> SyncResult:
    """Publish the partitions of one table in one transaction, or return what their receipt says.

    One reference alone, of a table that was not divided, is merged as :func:`merge_load` does. What an earlier plan of
    more ranges left behind is left out.

    :raises ConfigurationError: when they are not the partitions of one table, or not all of them.
    :raises StaleLoadError: when they are of different divisions, or the stream moved on since.
    """
    refuse_unreadable(stage, destination)
    refuse_options(merging, destination)
    if not staged:
        raise ConfigurationError("staged is empty: there is nothing to merge.", hint="see the stage task's output")
    if len(staged) == 1:
        return merge_load(staged[0], merging, destination, stage)
    parts = []
    for ref in staged:
        try:
            parts.append((ref, Manifest.from_bytes(stage.read(ref.manifest.uri), ref.manifest)))
        except FileNotFoundError as error:
            return _merged_already(staged, destination, gone(ref.manifest, error))
    parts = _of_last_plan(parts)
    staged = [ref for ref, _ in parts]
    if len(staged) == 1:
        return merge_load(staged[0], merging, destination, stage)
    found = Partitions.of(parts)
    manifest, published = found.published(stage)
    _refuse_stale(manifest, destination)
    seconds = _longest([each.seconds for each in staged])
    pieces = tuple(_pieces(found, destination))
    log.info("%s: merge: %d partitions as load %s", manifest.stream, len(parts), manifest.load_id)
    return merge_manifest(
        StagingRef(published, staged[0].target, "", seconds), manifest, merging, destination, stage, pieces
    )


def _of_last_plan(parts: Sequence[tuple[StagingRef, Manifest]]) -> list[tuple[StagingRef, Manifest]]:
    """Leave out what a cleared run's earlier plan left behind, where the new one has fewer ranges.

    Airflow keeps the XComs of the mapped instances that it removes, and hands them on. They have the highest numbers,
    and were read before anything of the new plan; whatever else does not fit together is left for the refusals.
    """
    last = max((manifest for _, manifest in parts), key=lambda manifest: manifest.created_at)
    division, number = (last.partition.division, last.partition.of) if last.partition else (None, 1)
    kept = [part for part in parts if (part[1].partition and part[1].partition.division) == division]
    since = min(manifest.created_at for _, manifest in kept)
    left = [manifest for _, manifest in parts if (manifest.partition and manifest.partition.division) != division]
    if not left or not all(_is_leftover(manifest, last, number, since) for manifest in left):
        return list(parts)
    log.info("%s: merge: %d partitions of an earlier plan are left out", last.stream, len(left))
    return kept


def _is_leftover(manifest: Manifest, last: Manifest, number: int, since: str) -> bool:
    return (
        manifest.partition is not None and manifest.partition.number > number and manifest.created_at < since
        and manifest.stream == last.stream
    )  # fmt: skip


@dataclass(frozen=True)
class Partitions:
    """All partitions of one table, by number."""

    parts: tuple[tuple[StagingRef, Manifest], ...]

    @classmethod
    def of(cls, parts: Sequence[tuple[StagingRef, Manifest]]) -> Partitions:
        """Take partitions in any order.

        :raises ConfigurationError: when one is missing, comes twice, or is of another table.
        :raises StaleLoadError: when not all are of the same division and checkpoint.
        """
        whole = next((ref for ref, manifest in parts if manifest.partition is None), None)
        if whole:
            raise ConfigurationError(
                f"{whole.manifest.uri} is no partition, but a load by itself.",
                hint="give it a MergeOperator of its own",
            )
        found = cls(tuple(sorted(parts, key=lambda part: part[1].partition.number if part[1].partition else 0)))
        found._refuse_strangers()
        found._refuse_gaps()
        return found

    @property
    def manifests(self) -> list[Manifest]:
        """Their manifests."""
        return [manifest for _, manifest in self.parts]

    @property
    def first(self) -> Manifest:
        """The manifest of the lowest keys."""
        return self.parts[0][1]

    def _refuse_strangers(self) -> None:
        streams = dict.fromkeys(manifest.stream for manifest in self.manifests)
        targets = dict.fromkeys(ref.target for ref, _ in self.parts)
        for what, known in (("streams", streams), ("targets", targets)):
            if len(known) > 1:
                raise ConfigurationError(
                    f"staged has loads of different {what}: {', '.join(known)}.",
                    hint="give each table a MergeOperator of its own",
                )
        for manifest in self.manifests:
            if _essence(manifest) != _essence(self.first):
                raise StaleLoadError(
                    f"{manifest.stream}: partitions {self.first.partition} (load {self.first.load_id}) and "
                    f"{manifest.partition} (load {manifest.load_id}) are not of one division of one table.",
                    hint=_PLAN_ANEW,
                )

    def _refuse_gaps(self) -> None:
        numbers = [manifest.partition.number for manifest in self.manifests if manifest.partition]
        wanted = range(1, (self.first.partition.of if self.first.partition else 0) + 1)
        missing = ", ".join(str(number) for number in wanted if number not in numbers)
        twice = ", ".join(sorted({str(number) for number in numbers if numbers.count(number) > 1}))
        if missing or twice:
            what = f"misses partition {missing}" if missing else f"has partition {twice} twice"
            raise ConfigurationError(
                f"{self.first.stream}: staged {what} of {len(wanted)}.",
                hint="give merge the output of all instances of the stage task",
            )

    @cached_property
    def load_id(self) -> str:
        """The id of the load that they make up."""
        return combined_load_id(manifest.load_id for manifest in self.manifests)

    # --- one load ---

    def published(self, stage: Stage) -> tuple[Manifest, ManifestRef]:
        """Return the manifest of the whole load; it is on the stage like any other, and the same at each attempt."""
        manifest = replace(
            self.first, load_id=self.load_id, partition=None, consistent=False, plan="",
            files=tuple(file for manifest in self.manifests for file in manifest.files),
            next_position=self._position(stage),
            source_rows=sum(manifest.source_rows or 0 for manifest in self.manifests),
            created_at=min(manifest.created_at for manifest in self.manifests),
            as_of=min(manifest.as_of for manifest in self.manifests),
        )  # fmt: skip
        data = manifest.to_bytes()
        for number in count():
            path = f"{stream_folder(manifest.stream)}/{manifest.load_id}/manifest-{number}.json"
            uri = f"{stage.root.rstrip('/')}/{path}"
            if stage.put_if_absent(path, data) or stage.read(uri) == data:
                return manifest, reference_of(uri, data, manifest)
        raise AssertionError("numbers have no end")

    def _position(self, stage: Stage) -> Position:
        """Return where the stream stands once all partitions are merged, with the sum of their fingerprints."""
        states = [_state(manifest, stage) for manifest in self.manifests]
        now = Fingerprints.none().plus(*(state.fingerprints for state in states))
        # What the first snapshot saw, all later ones saw too: with it the next comparison is on the safe side.
        earliest = min(self.manifests, key=_snapshot_order).next_position
        if earliest.snapshot is None:
            raise TypeError(earliest)
        position = replace(earliest, snapshot=replace(earliest.snapshot, rows=now.rows, state=None))
        state = State(now, states[0].facts).to_bytes()
        name = f"{self.load_id}-{hashlib.sha256(state).hexdigest()[:8]}"
        return state_files.keep(stage, stream_folder(self.first.stream), name, Outcome(position, state))


def _refuse_stale(manifest: Manifest, destination: Destination) -> None:
    """Refuse early what a merge would refuse, and with the right remedy: to stage again would not help."""
    checkpoint = destination.checkpoint(manifest.stream)
    version = checkpoint.version if checkpoint else 0
    if manifest.base_version in {None, version} or destination.receipt(manifest.load_id):
        return
    raise StaleLoadError(
        f"{manifest.stream}: the partitions were planned at checkpoint version {manifest.base_version}, which is no "
        f"longer the current one ({version}): the stream was merged since.",
        hint=_PLAN_ANEW,
    )


def _snapshot_order(manifest: Manifest) -> tuple[int, str]:
    snapshot = manifest.next_position.snapshot
    return (snapshot.xmin if snapshot else 0, manifest.created_at)


def _essence(manifest: Manifest) -> tuple[object, ...]:
    """Return what all partitions of a division have in common."""
    position, partition = manifest.next_position, manifest.partition
    buckets = position.snapshot.buckets if position.snapshot else None
    by = position.snapshot.by if position.snapshot else None
    return (
        partition and (partition.division, partition.of), buckets, by, replace(position, snapshot=None),
        manifest.base_version, manifest.base_position, manifest.replaces, manifest.mode, manifest.deletes,
        manifest.schema, manifest.run_key, manifest.complete, manifest.full_refresh, manifest.interval,
    )  # fmt: skip


def _state(manifest: Manifest, stage: Stage) -> State:
    """Return the fingerprints of a partition.

    :raises DataError: when they are gone: without them the next comparison would miss what moved.
    """
    memory = state_files.recall(stage, manifest.stream, manifest.next_position)
    state = State.from_bytes(memory.state) if memory.state is not None else None
    if state is None:
        raise DataError(
            f"{manifest.stream}: the fingerprints of partition {manifest.partition} are gone from the stage.",
            hint=_PLAN_ANEW,
        )
    return state


def _pieces(found: Partitions, destination: Destination) -> Sequence[Piece]:
    """Return the staging tables of the partitions that have rows, where the destination has such."""
    pieces = []
    for ref, manifest in found.parts:
        table = ref.staging or (destination.staged(manifest.load_id) if manifest.rows else None)
        if table:
            pieces.append(Piece(manifest.load_id, table, tuple(column.name for column in manifest.extra_columns)))
    return pieces


def _merged_already(staged: Sequence[StagingRef], destination: Destination, otherwise: DataError) -> SyncResult:
    """Return what the receipt says of partitions whose manifests are gone.

    :raises DataError: when there is none.
    """
    ids = [ref.manifest.load_id or ref.manifest.uri.rstrip("/").split("/")[-2] for ref in staged]
    receipt: Receipt | None = destination.receipt(combined_load_id(ids))
    if receipt is None:
        raise otherwise
    return told(receipt, None, _longest([ref.seconds for ref in staged]))


def _longest(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return for each step how long the slowest partition took: they are read at once."""
    steps = dict.fromkeys(step for each in seconds for step in each)
    return {step: max(each.get(step, 0.0) for each in seconds) for step in steps}
