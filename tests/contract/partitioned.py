"""One table that several tasks read, each its range of keys: planned, extracted, staged and merged step by step."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_elt_provider.core.load import RunIdentity, StagingRef
from airflow_elt_provider.core.manifest import ManifestRef
from airflow_elt_provider.core.partition import Partition
from airflow_elt_provider.engine.combine import merge_partitions
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.merge import stage_load
from airflow_elt_provider.engine.partitions import plan_partitions
from airflow_elt_provider.engine.start import StreamState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_elt_provider.engine.merge import SyncResult
    from airflow_elt_provider.engine.sync import Sync
    from tests.contract.world import World

MIRROR: dict[str, Any] = {"capture": "fingerprint", "mode": "merge", "deletes": "hard", "max_delete_ratio": 1.0}


@dataclass
class PartitionedRun:
    """The tasks of one DAG run.

    :param generations: partition -> how often its extract was cleared.
    """

    world: World
    wanted: int = 3
    parameters: dict[str, Any] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    generations: dict[int, int] = field(default_factory=dict)
    state: StreamState = field(default_factory=StreamState)

    @property
    def job(self) -> Sync:
        return self.world.job(run_id=self.run_id, **{**MIRROR, **self.parameters})

    def plan(self) -> list[Partition | None]:
        """Plan, and send the answer through JSON as XCom does."""
        job = self.job
        self.state = StreamState.read(job.destination, job.extraction, job.run)
        found = plan_partitions(job.extraction, job.run, job.source, self.state, self.wanted)
        return [part and Partition.from_json(part.to_json()) for part in found]

    def extract(self, partition: Partition | None) -> ManifestRef:
        job = self.job
        number = partition.number if partition else 0
        run = RunIdentity("contract", self.run_id, "extract", number, self.generations.get(number, 0))
        extraction = replace(job.extraction, partition=partition)
        return Extract(extraction, run, job.source, job.stage, self.state).execute()

    def stage(self, ref: ManifestRef) -> StagingRef:
        job = self.job
        staged = stage_load(ref, job.merging.target, job.destination, job.stage)
        return StagingRef.from_json(staged.to_json())

    def merge(self, staged: Sequence[StagingRef]) -> SyncResult:
        job = self.job
        return merge_partitions(staged, job.merging, job.destination, job.stage)

    def execute(self) -> SyncResult:
        """Do all steps."""
        return self.merge([self.stage(self.extract(partition)) for partition in self.plan()])
