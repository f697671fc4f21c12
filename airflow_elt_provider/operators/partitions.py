"""A table too large for one task: which ranges of it the instances of a mapped extract are to read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_elt_provider._compat import Context
from airflow_elt_provider.core.partition import refuse_unfit
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._mapping import refuse_too_many
from airflow_elt_provider.operators._task import run_identity
from airflow_elt_provider.operators.extract import ExtractOperator

if TYPE_CHECKING:
    from airflow_elt_provider.core.plan import Extraction

log = logging.getLogger(__name__)


class PlanPartitionsOperator(ExtractOperator):
    """Divides a table among the instances of a mapped ``ExtractOperator``; it reads no rows itself.

    The parameters are those of ``ExtractOperator``, and the same in both; the result (XCom) is
    ``[{"partition", "checkpoint"}, ...]``, for ``ExtractOperator.partial(...).expand_kwargs(...)``. Once there is a
    checkpoint to compare with, it has one entry, whose partition is None: what changed since is read by one task.

    :param partitions: how many tasks are to read the table; fewer where it has not as many rows.
    :param checkpoint: the output of a ``CheckpointOperator``. (templated)
    :param destination_conn_id: where the checkpoint lives, when this task can reach it.
    :param max_quarantined_rows: has to be 0.
    """

    ui_color = "#f8f8d8"

    partitions: int = 1

    def __init__(
        self,
        *,
        partitions: int,
        checkpoint: Any = None,
        destination_conn_id: str | None = None,
        max_quarantined_rows: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            checkpoint=checkpoint,
            destination_conn_id=destination_conn_id,
            max_quarantined_rows=max_quarantined_rows,
            **kwargs,
        )
        self.partitions = partitions
        if not self._is_being_mapped():
            self._check_reading()

    def _request(
        self, stream: str, source: TableRef | None, interval: Any, full_refresh: Any, where: str | None = None
    ) -> Extraction:
        found = super()._request(stream, source, interval, full_refresh, where)
        refuse_unfit(found, int(self.partitions))
        return found

    def run_step(self, context: Context) -> list[dict[str, Any]]:  # type: ignore[override]
        """Plan."""
        from airflow_elt_provider.engine.partitions import plan_partitions
        from airflow_elt_provider.hooks.systems import source_hook

        self._check_origin()
        extraction, run = self.extraction(), run_identity(context)
        refuse_too_many(self.partitions, f"partitions of {extraction.source}", "lower partitions")
        source = source_hook(self.source_conn_id).get_source()
        state = self._state(extraction, run)
        if state is None:
            raise ConfigurationError(
                f"{extraction.stream}: nobody says where to read from.",
                hint="give checkpoint or destination_conn_id",
            )
        found = self._stoppable(lambda: plan_partitions(extraction, run, source, state, self.partitions), source.cancel)
        checkpoint = state.checkpoint.to_json() if state.checkpoint else None
        carried = {"stream": extraction.stream, "checkpoint": checkpoint, "full_refresh": extraction.full_refresh}
        log.info("%s: plan: %d partitions", extraction.stream, len(found))
        return [{"partition": part.to_json() if part else None, "checkpoint": carried} for part in found]
