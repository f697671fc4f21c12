"""The whole journey of one table in one task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_elt_provider._compat import Context
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators import _assets, _metrics
from airflow_elt_provider.operators._reads import ReadsSource
from airflow_elt_provider.operators._rendered import table
from airflow_elt_provider.operators._task import UsesStage, run_identity
from airflow_elt_provider.operators._writes import MergesRows

if TYPE_CHECKING:
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.engine.merge import SyncResult

log = logging.getLogger(__name__)


class SyncTableOperator(ReadsSource, MergesRows, UsesStage):
    """Brings a target table up to date with a source table, exactly once: extract, stage and merge.

    The parameters are those of :class:`ReadsSource`, :class:`MergesRows` and :class:`UsesStage`; the result (XCom) is
    ``{"load_id", "stream", "extracted", "inserted", "updated", "deleted", "quarantined", "bytes_staged",
    "checkpoint", "schema_changes", "seconds"}``. One asset event per run names the target,
    ``elt://<destination_conn_id>/<target_table>``.

    :param target_table: as many parts as the destination has. (templated)
    """

    template_fields: Sequence[str] = (
        "source_table", "query", "path", "where", "target_table", "stage", "interval", "full_refresh", "stream",
    )  # fmt: skip
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "where": "sql"}
    ui_color = "#d8e8f8"

    _merged: tuple[SyncResult, tuple[str, str]] | None = None

    def __init__(self, *, target_table: str | TableRef, **kwargs: Any) -> None:
        super().__init__(target_table=target_table, **kwargs)
        if not self._is_being_mapped():
            _assets.declare(self, self.destination_conn_id, self.target_table)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map over tables; the targets' assets appear under the alias ``elt://<destination_conn_id>``."""
        outlets = [*kwargs.pop("outlets", ()), _assets.alias(kwargs.get("destination_conn_id"))]
        return super().partial(outlets=outlets, **kwargs)

    def run_step(self, context: Context) -> dict[str, Any]:
        """Extract, stage and merge."""
        from airflow_elt_provider.engine.sync import Sync
        from airflow_elt_provider.hooks.connection import hash_keys
        from airflow_elt_provider.hooks.systems import destination_hook, source_hook
        from airflow_elt_provider.operators import _lineage

        target = table(self.target_table, "target_table")
        if target is None:
            raise ConfigurationError("target_table is missing.", hint="name it")
        extraction = self.extraction()
        merging = self.merging(target, self.mode, self.deletes)
        source, destination = source_hook(self.source_conn_id, self.path), destination_hook(self.destination_conn_id)
        log.info("%s: stream of %s into %s", extraction.stream, extraction.source, target)
        named = _lineage.named(source.get_source(), _lineage.lineage_name(source, extraction.table or extraction.path))
        keys = hash_keys(extraction.hash_columns.values())
        stage, into = self._open_stage(), destination.get_destination()
        sync = Sync(extraction, merging, run_identity(context), named, stage, into, keys)
        result = self._stoppable(sync.execute, sync.cancel)
        _assets.announce(context, self, self.destination_conn_id, target, result)
        _metrics.report(self.destination_conn_id, target, result)
        self._merged = result, destination.lineage_name(target)
        return result.to_json()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return the run's lineage: source, target, columns and counts."""
        from airflow_elt_provider.operators import _lineage

        return _lineage.merged(*self._merged, self.query) if self._merged else _lineage.nothing()
