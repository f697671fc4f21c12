"""What becomes of staged rows, as far as Snowflake's locks ask for another way."""

from __future__ import annotations

from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.steps import Step
from airflow_elt_provider.core.writes import MergeWrites


class SnowflakeWrites(MergeWrites):
    """MERGE even into an empty target: INSERTs lock nothing, so two streams would bring one key twice."""

    def insert(self) -> tuple[Step, ...]:
        """Every staged row becomes a row; where rows have keys, unless another stream brought it just now."""
        return self.upsert() if self._load.mode is WriteMode.MERGE else super().insert()
