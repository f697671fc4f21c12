"""The first step alone: what changed at the source becomes files on the stage."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_elt_provider._compat import Context
from airflow_elt_provider.core.partition import Partition
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._reads import ReadsSource
from airflow_elt_provider.operators._rendered import reference
from airflow_elt_provider.operators._task import UsesStage, run_identity

if TYPE_CHECKING:
    from airflow_elt_provider.core.load import RunIdentity
    from airflow_elt_provider.core.plan import Extraction
    from airflow_elt_provider.engine.start import StreamState

log = logging.getLogger(__name__)


class ExtractOperator(ReadsSource, UsesStage):
    """Reads a source and puts files and a manifest on the stage. It needs no route to the destination.

    The parameters are those of :class:`ReadsSource` and :class:`UsesStage`; the result (XCom) is the manifest's
    reference, ``{"manifest", "sha256", "load_id", "rows", "bytes", "seconds"}``. From where to read is known by exactly
    one of these two; an interval load needs neither. A full load of mode ``merge`` or ``replace`` may do without as
    well, but then nothing keeps it from being merged after a newer one of the same stream.

    :param checkpoint: the output of a ``CheckpointOperator``. (templated)
    :param destination_conn_id: where the checkpoint lives, when this task can reach it.
    :param max_quarantined_rows: how many rows that cannot be read may be set aside.
    :param partition: the range of keys to read, of those that a ``PlanPartitionsOperator`` returned; None for all.
    """

    template_fields: Sequence[str] = (
        "source_table", "query", "path", "where", "target_table", "stage", "interval", "full_refresh", "checkpoint",
        "stream",
    )  # fmt: skip
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "where": "sql", "checkpoint": "json"}
    ui_color = "#f8ecd8"

    _extracted: tuple[tuple[str, str] | None, str | None] | None = None

    def __init__(
        self,
        *,
        checkpoint: Any = None,
        destination_conn_id: str | None = None,
        max_quarantined_rows: int = 0,
        partition: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.partition = partition
        self.max_quarantined_rows = max_quarantined_rows
        self.checkpoint = checkpoint
        self.destination_conn_id = destination_conn_id
        self._has_checkpoint = checkpoint is not None
        if not self._is_being_mapped():
            self._check_origin()

    @property
    def partition_name(self) -> str:
        """What the UI calls an instance of a task that is mapped over partitions."""
        return f"{self.partition['number']} of {self.partition['of']}" if self.partition else "whole table"

    def extraction(self) -> Extraction:
        """Return what to read, rendered and checked.

        :raises ConfigurationError: names the parameter that cannot be meant.
        """
        return replace(super().extraction(), partition=Partition.from_json(self.partition) if self.partition else None)

    def _check_origin(self) -> None:
        """Refuse a load that would not know where to start.

        :raises ConfigurationError: names the two parameters.
        """
        given = self._has_checkpoint + (self.destination_conn_id is not None)
        plain = self.capture is None or self.capture == "full" or getattr(self.capture, "name", "") == "full"
        optional = self.interval is not None or (plain and not self.cursor_column and str(self.mode) != "append")
        if given > 1 or (given == 0 and not optional):
            raise ConfigurationError(
                f"Task {self.task_id!r} has {'both' if given else 'neither'} of checkpoint and destination_conn_id.",
                hint="give exactly one: the output of a CheckpointOperator, or the destination to ask",
            )

    def run_step(self, context: Context) -> dict[str, Any]:
        """Extract."""
        from airflow_elt_provider.engine.extract import Extract
        from airflow_elt_provider.hooks.connection import hash_keys
        from airflow_elt_provider.hooks.systems import source_hook
        from airflow_elt_provider.operators import _lineage

        self._check_origin()
        extraction, run = self.extraction(), run_identity(context)
        hook = source_hook(self.source_conn_id, self.path)
        name = _lineage.lineage_name(hook, extraction.table or extraction.path)
        source, stage = _lineage.named(hook.get_source(), name), self._open_stage()
        log.info("%s: stream of %s, load %s", extraction.stream, extraction.source, run.load_id(extraction.stream))
        state = self._state(extraction, run)
        self._extracted = name, extraction.query
        extract = Extract(extraction, run, source, stage, state, hash_keys(extraction.hash_columns.values()))
        ref = self._stoppable(extract.execute, source.cancel).to_json()
        log.info("%s: extract: reference %s", extraction.stream, json.dumps(ref, ensure_ascii=False))
        return ref

    def _state(self, extraction: Extraction, run: RunIdentity) -> StreamState | None:
        from airflow_elt_provider.engine.start import StreamState
        from airflow_elt_provider.hooks.systems import destination_hook

        if extraction.interval:
            return StreamState()
        if self._has_checkpoint:
            example = f'\'{{"stream": "{extraction.stream}", "checkpoint": null}}\''
            return _carried(reference(self.checkpoint, "checkpoint", "CheckpointOperator", example), extraction)
        if self.destination_conn_id is None:
            log.warning("%s: no checkpoint is looked at: of two loads, the one merged last wins", extraction.stream)
            return None
        destination = destination_hook(self.destination_conn_id).get_destination()
        return self._stoppable(lambda: StreamState.read(destination, extraction, run), destination.cancel)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return the run's lineage: the source."""
        from airflow_elt_provider.operators import _lineage

        return _lineage.extracted(*self._extracted) if self._extracted else _lineage.nothing()


def _carried(value: Mapping[str, Any] | str, extraction: Extraction) -> StreamState:
    """Read what a CheckpointOperator returned.

    :raises ConfigurationError: when it is of another stream, or was asked another question.
    """
    from airflow_elt_provider.core.checkpoint import Checkpoint
    from airflow_elt_provider.core.receipt import Receipt
    from airflow_elt_provider.engine.start import StreamState

    if not isinstance(value, Mapping) or "stream" not in value or "checkpoint" not in value:
        raise ConfigurationError(
            f"checkpoint={value!r} is not a checkpoint.", hint="pass the output of a CheckpointOperator"
        )
    if value["stream"] != extraction.stream:
        raise ConfigurationError(
            f"The checkpoint is of stream {value['stream']!r}, this task reads stream {extraction.stream!r}.",
            hint="give both tasks the same stream, or the same source_conn_id, source_table and target_table",
        )
    if extraction.mode.value == "append" and bool(value.get("full_refresh")) != extraction.full_refresh:
        raise ConfigurationError(
            f"{extraction.stream}: full_refresh is {extraction.full_refresh} here and "
            f"{bool(value.get('full_refresh'))} in the CheckpointOperator.",
            hint="give both tasks the same full_refresh",
        )
    checkpoint = Checkpoint.from_json(value["checkpoint"]) if value["checkpoint"] else None
    return StreamState(checkpoint, tuple(Receipt.from_json(item) for item in value.get("receipts", ())))
