"""The third step alone: staged rows become rows of the target."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_elt_provider._compat import Context
from airflow_elt_provider.core.modes import parse_deletes, parse_mode
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators import _assets, _metrics
from airflow_elt_provider.operators._rendered import references, table
from airflow_elt_provider.operators._task import UsesStage
from airflow_elt_provider.operators._writes import MergesRows
from airflow_elt_provider.operators.stage import stage_root

if TYPE_CHECKING:
    from airflow_elt_provider.core.load import StagingRef
    from airflow_elt_provider.core.manifest import ManifestRef
    from airflow_elt_provider.core.modes import DeleteMode, WriteMode
    from airflow_elt_provider.core.protocols import Stage
    from airflow_elt_provider.engine.merge import SyncResult

log = logging.getLogger(__name__)


class MergeOperator(MergesRows, UsesStage):
    """Publishes a staged load: rows, checkpoint and receipt in one transaction. It needs no route to the source.

    The parameters are those of :class:`MergesRows` and :class:`UsesStage`; the result is that of ``SyncTableOperator``.

    :param staged: the output of a ``StageOperator``, or a manifest's URI; or a list of them, or the output of a mapped
        ``StageOperator``: the partitions of one table, which become one load. (templated)
    :param target_table: where the rows go; default: where they were staged for. With a URI alone it is taken from
        the stream's default name. (templated)
    :param mode: default: what the load was extracted for; another one is refused.
    :param deletes: as ``mode``.
    """

    template_fields: Sequence[str] = ("staged", "target_table", "stage")
    template_fields_renderers: ClassVar[dict[str, str]] = {"staged": "json"}
    ui_color = "#d8f0e0"

    _merged: tuple[SyncResult, tuple[str, str]] | None = None

    def __init__(
        self,
        *,
        staged: Any,
        target_table: str | TableRef | None = None,
        mode: str | WriteMode | None = None,
        deletes: str | DeleteMode | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.staged = staged
        self.target_table = str(target_table) if isinstance(target_table, TableRef) else target_table
        self.mode = mode
        self.deletes = deletes
        if not self._is_being_mapped():
            _ = mode is None or parse_mode(mode), deletes is None or parse_deletes(deletes)
            known = self.target_table or getattr(getattr(staged, "operator", None), "target_table", None)
            _assets.declare(self, self.destination_conn_id, known)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map over loads; the targets' assets appear under the alias ``elt://<destination_conn_id>``."""
        outlets = [*kwargs.pop("outlets", ()), _assets.alias(kwargs.get("destination_conn_id"))]
        return super().partial(outlets=outlets, **kwargs)

    def run_step(self, context: Context) -> dict[str, Any]:
        """Merge."""
        from airflow_elt_provider.engine.combine import merge_partitions
        from airflow_elt_provider.hooks.systems import destination_hook

        hook = destination_hook(self.destination_conn_id)
        destination = hook.get_destination()
        staged, stage = self._staged()
        target = TableRef.of(staged[0].target)
        merging = self.merging(target, self.mode, self.deletes)
        log.info("%s -> %s", ", ".join(each.manifest.uri for each in staged), target)
        result = self._stoppable(lambda: merge_partitions(staged, merging, destination, stage), destination.cancel)
        _assets.announce(context, self, self.destination_conn_id, target, result)
        _metrics.report(self.destination_conn_id, target, result)
        self._merged = result, hook.lineage_name(target)
        return result.to_json()

    def _staged(self) -> tuple[list[StagingRef], Stage]:
        """Return the staging references and their stage.

        :raises ConfigurationError: when there is none, or one was staged for another target.
        """
        example = "'s3://bucket/prefix/<stream>/<load id>/manifest-0.json' (from the extract task's log)"
        found = [self._read(value) for value in references(self.staged, "staged", "stage", example)]
        if not found:
            raise ConfigurationError("staged is an empty list: there is nothing to merge.", hint=f"write {example}")
        return [staged for staged, _ in found], found[0][1]

    def _read(self, value: dict[str, Any] | str) -> tuple[StagingRef, Stage]:
        from airflow_elt_provider.core.load import StagingRef
        from airflow_elt_provider.core.manifest import ManifestRef

        wanted = table(self.target_table, "target_table")
        if isinstance(value, dict) and isinstance(value.get("manifest"), dict):
            staged = StagingRef.from_json(value)
            if wanted and str(wanted) != staged.target:
                raise ConfigurationError(
                    f"The load was staged for {staged.target}, and target_table is {wanted}.",
                    hint="leave target_table out of the merge task, or correct it",
                )
            return staged, self._open_stage(self.stage or stage_root(staged.manifest.uri))
        ref = ManifestRef.from_json(value)
        stage = self._open_stage(self.stage or stage_root(ref.uri))
        return StagingRef(ref, str(wanted or _target_of(ref, stage)), ""), stage

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return the run's lineage: source, target, columns and counts."""
        from airflow_elt_provider.operators import _lineage

        return _lineage.merged(*self._merged) if self._merged else _lineage.nothing()


def _target_of(ref: ManifestRef, stage: Stage) -> TableRef:
    """Return the target that a load's stream is named after.

    :raises ConfigurationError: when the stream was given another name.
    """
    from airflow_elt_provider.core.manifest import Manifest

    try:
        stream = Manifest.from_bytes(stage.read(ref.uri), ref).stream
    except FileNotFoundError:
        raise ConfigurationError(f"{ref.uri} is not there.", hint="copy the URI from the extract task's log") from None
    _, found, target = stream.rpartition("->")
    if not found:
        raise ConfigurationError(
            f"{ref.uri} does not say which table stream {stream!r} goes to.", hint="add target_table='...'"
        )
    return TableRef.parse(target)
