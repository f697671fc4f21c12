"""The second step alone: staged files become a staging table of the destination."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_elt_provider._compat import Context
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.operators._rendered import is_template, reference, table
from airflow_elt_provider.operators._task import UsesStage

if TYPE_CHECKING:
    from airflow_elt_provider.core.manifest import ManifestRef

log = logging.getLogger(__name__)


class StageOperator(UsesStage):
    """Brings a load's files into a staging table of the load's own. It needs no route to the source.

    Its result (XCom) is the staging reference, ``{"manifest", "target", "staging", "seconds"}``.

    :param manifest: the output of an ``ExtractOperator``, or a manifest's URI. (templated)
    :param destination_conn_id: a connection whose type the registry knows as a destination.
    :param target_table: where the rows will go. (templated)
    :param table_options: used when the target is created.
    :param stage: as in the extract; default: the stage that the manifest lies on. (templated)
    """

    template_fields: Sequence[str] = ("manifest", "target_table", "stage")
    template_fields_renderers: ClassVar[dict[str, str]] = {"manifest": "json"}
    ui_color = "#f0e0f0"

    def __init__(
        self,
        *,
        manifest: Any,
        destination_conn_id: str,
        target_table: str | TableRef,
        table_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.destination_conn_id = destination_conn_id
        self.target_table = str(target_table) if isinstance(target_table, TableRef) else target_table
        self.table_options = table_options
        if not self._is_being_mapped() and not is_template(self.target_table):
            table(self.target_table, "target_table")

    def run_step(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - all it needs is in the manifest
        """Stage."""
        from airflow_elt_provider.engine.merge import stage_load
        from airflow_elt_provider.hooks.systems import destination_hook

        ref = manifest_reference(self.manifest, "manifest")
        target = TableRef.of(self.target_table)
        destination = destination_hook(self.destination_conn_id).get_destination()
        stage = self._open_stage(self.stage or stage_root(ref.uri))
        log.info("%s -> %s", ref.uri, target)
        staged = self._stoppable(lambda: stage_load(ref, target, destination, stage), destination.cancel).to_json()
        log.info("stage: reference %s", json.dumps(staged, ensure_ascii=False))
        return staged


def manifest_reference(value: Any, parameter: str) -> ManifestRef:
    """Read the output of an extract, or a manifest's URI.

    :raises ConfigurationError: when it is neither.
    """
    from airflow_elt_provider.core.manifest import ManifestRef

    example = "'s3://bucket/prefix/<stream>/<load id>/manifest-0.json' (from the extract task's log)"
    return ManifestRef.from_json(reference(value, parameter, "extract", example))


def stage_root(uri: str) -> str:
    """Return the root of the stage that a manifest lies on: ``<root>/<stream>/<load id>/manifest-N.json``."""
    return uri.rsplit("/", 3)[0]
