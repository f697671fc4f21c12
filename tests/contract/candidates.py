"""What the contract suite is run against: a row for each system."""

from __future__ import annotations

from tests.contract.at_work import DestinationCandidate
from tests.contract.duckdb_at_work import duckdb_file
from tests.contract.postgres_at_work import postgres
from tests.contract.stages_at_work import StageCandidate, gcs, local, s3

STAGES = (
    StageCandidate("local", lambda folder: local("publish", folder)),
    StageCandidate("local-without-links", lambda folder: local("by_rename", folder)),
    StageCandidate("local-with-locks", lambda folder: local("by_lock", folder)),
    StageCandidate("s3", lambda _: s3("the stage/ステージ")),
    StageCandidate("gcs", lambda _: gcs("the stage/ステージ")),
)

DESTINATIONS = {
    "duckdb": DestinationCandidate(duckdb_file),
    "postgres": DestinationCandidate(postgres),
}
