"""What the contract suite is run against: a row for each system."""

from __future__ import annotations

from tests.contract.at_work import duckdb_file, postgres
from tests.contract.stages_at_work import StageCandidate, local, s3

STAGES = (
    StageCandidate("local", lambda folder: local("publish", folder)),
    StageCandidate("local-without-links", lambda folder: local("by_rename", folder)),
    StageCandidate("local-with-locks", lambda folder: local("by_lock", folder)),
    StageCandidate("s3", lambda _: s3("the stage/ステージ")),
)

DESTINATIONS = {
    "duckdb": duckdb_file,
    "postgres": postgres,
}
