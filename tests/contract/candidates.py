"""What the contract suite is run against: a row for each system."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from tests.contract.stages_at_work import StageCandidate, gcs, local, s3

if TYPE_CHECKING:
    from tests.contract.at_work import DestinationCandidate

STAGES = (
    StageCandidate("local", lambda folder: local("publish", folder)),
    StageCandidate("local-without-links", lambda folder: local("by_rename", folder)),
    StageCandidate("local-with-locks", lambda folder: local("by_lock", folder)),
    StageCandidate("s3", lambda _: s3("the stage/ステージ")),
    StageCandidate("gcs", lambda _: gcs("the stage/ステージ")),
)

_EVERYWHERE: Final = ("duckdb", "postgres", "sqlite")
_ON_AIRFLOW_3: Final = ("bigquery", "databricks", "hologres", "snowflake")
"""The environment of Airflow 2.11, with the lowest dependencies, holds no drivers of warehouses."""


def _destinations() -> dict[str, DestinationCandidate]:
    on_3 = () if version("apache-airflow").startswith("2.") else _ON_AIRFLOW_3
    modules = (import_module(f"tests.contract.{name}_at_work") for name in (*_EVERYWHERE, *on_3))
    return {name: candidate for module in modules for name, candidate in module.CANDIDATES.items()}


DESTINATIONS = _destinations()
