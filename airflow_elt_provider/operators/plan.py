"""What a sync would do, without doing it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_elt_provider._compat import Context, setting
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._reads import ReadsSource
from airflow_elt_provider.operators._rendered import table
from airflow_elt_provider.operators._task import UsesStage, run_identity
from airflow_elt_provider.operators._writes import MergesRows

if TYPE_CHECKING:
    from airflow_elt_provider.core.table_ref import TableRef

log = logging.getLogger(__name__)


class PlanOperator(ReadsSource, MergesRows, UsesStage):
    """Says what a :class:`~airflow_elt_provider.operators.sync.SyncTableOperator` of the same parameters would do.

    Nothing is written: no file on the stage, no DDL, no slot, no checkpoint. The log has a table of what would be read,
    the DDL, what the merge would do and why it would be refused, if so; the result (XCom) is ``{"stream", "source",
    "target", "capture", "mode", "deletes", "checkpoint", "complete", "predicate", "rows", "rows_exact", "bytes",
    "source_rows", "columns", "primary_key", "ddl", "schema_changes", "merge", "masked", "facts", "notes", "refused",
    "seconds"}``. A stage is only looked at for what the last extract left there; none is needed.

    :param target_table: as many parts as the destination has. (templated)
    """

    template_fields: Sequence[str] = (
        "source_table", "query", "path", "where", "target_table", "stage", "interval", "full_refresh", "stream",
    )  # fmt: skip
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "where": "sql"}
    ui_color = "#f0e8f8"

    def __init__(self, *, target_table: str | TableRef, **kwargs: Any) -> None:
        super().__init__(target_table=target_table, **kwargs)

    def run_step(self, context: Context) -> dict[str, Any]:
        """Plan."""
        from airflow_elt_provider.engine.planning import Planning
        from airflow_elt_provider.hooks.connection import hash_keys
        from airflow_elt_provider.hooks.systems import destination_hook, source_hook

        target = table(self.target_table, "target_table")
        if target is None:
            raise ConfigurationError("target_table is missing.", hint="name it")
        extraction = self.extraction()
        source, destination = source_hook(self.source_conn_id, self.path), destination_hook(self.destination_conn_id)
        stage = self._open_stage() if (self.stage or setting("stage")) else None
        planning = Planning(
            extraction, self.merging(target, self.mode, self.deletes), run_identity(context), source.get_source(),
            stage, destination.get_destination(), hash_keys(extraction.hash_columns.values()),
        )  # fmt: skip
        plan = self._stoppable(planning.execute, planning.cancel)
        log.info("%s", plan)
        return plan.to_json()
