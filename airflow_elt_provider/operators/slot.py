"""The first step for several tables of one replication slot: the log is read once, and each table gets a manifest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow_elt_provider._compat import Context
from airflow_elt_provider.core import request
from airflow_elt_provider.core.capture import Wal
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._reads import stream_name
from airflow_elt_provider.operators._rendered import is_template, table
from airflow_elt_provider.operators._task import UsesStage, run_identity

if TYPE_CHECKING:
    from airflow_elt_provider.core.load import RunIdentity
    from airflow_elt_provider.core.plan import Extraction
    from airflow_elt_provider.core.protocols import Source
    from airflow_elt_provider.engine.slot import ExtractSlot

log = logging.getLogger(__name__)

_OWN: Final = (
    "primary_key", "columns", "exclude_columns", "hash_columns", "redact_columns", "rename", "column_types",
    "parallelism", "full_refresh", "max_quarantined_rows",
)  # fmt: skip
_NEEDED: Final = ("source_table", "target_table")


class ExtractSlotOperator(UsesStage):
    """Reads the write-ahead log once for several tables, through one replication slot.

    Each table has its own checkpoint and gets its own manifest; the slot moves to the smallest of the checkpoints. The
    result (XCom) is ``[{"manifest": {...}, "target_table": ...}, ...]``, in the order of ``tables``, made for
    ``StageOperator.partial(...).expand_kwargs(extract.output)``.

    :param source_conn_id: a PostgreSQL connection.
    :param destination_conn_id: where the checkpoints live.
    :param tables: ``[{"source_table": ..., "target_table": ...}, ...]``; each may have ``mode``, ``deletes``,
        ``stream``, ``primary_key``, ``columns``, ``exclude_columns``, ``hash_columns``, ``redact_columns``,
        ``rename``, ``column_types``, ``parallelism``, ``full_refresh`` and ``max_quarantined_rows`` of its own, as
        ``SyncTableOperator`` has them. (templated)
    :param slot: name of the slot. (templated)
    :param publication: name of the publication; default: that of the slot. (templated)
    :param max_slot_lag: bytes of the log that may wait for one table that keeps failing: beyond, the slot goes on
        without it, and it is read from the table itself.
    :param heartbeat: see :class:`~airflow_elt_provider.core.capture.Wal`.
    :param mode: of tables that have none of their own: ``merge`` or ``history``.
    :param deletes: of tables that have none of their own.
    """

    template_fields: Sequence[str] = ("tables", "slot", "publication", "stage")
    template_fields_renderers: ClassVar[dict[str, str]] = {"tables": "json"}
    ui_color = "#f8ecd8"

    def __init__(
        self,
        *,
        source_conn_id: str,
        destination_conn_id: str,
        tables: Any,
        slot: str,
        publication: str = "",
        max_slot_lag: int = Wal.max_slot_lag,
        heartbeat: bool = True,
        mode: str = "merge",
        deletes: str = "ignore",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.destination_conn_id = destination_conn_id
        self.tables = tables
        self.slot = slot
        self.publication = publication
        self.max_slot_lag = max_slot_lag
        self.heartbeat = heartbeat
        self.mode = mode
        self.deletes = deletes
        if not self._is_being_mapped() and not any(map(is_template, (tables, slot, publication))):
            self._check_parsed()

    def _check_parsed(self) -> None:
        """Check, while the DAG file is parsed, tables without a template."""
        if all(isinstance(one, Mapping) and not any(map(is_template, one.values())) for one in self.tables):
            self.extractions()

    def extractions(self) -> list[tuple[Extraction, str]]:
        """Return what to read, and into which target.

        :raises ConfigurationError: names the table and the parameter that cannot be meant.
        """
        if not self.tables:
            raise ConfigurationError(f"Task {self.task_id!r} has no table.", hint="name some: tables=[...]")
        if not self.slot or self.slot == "None":
            raise ConfigurationError(f"Task {self.task_id!r} has no slot.", hint="name it: slot='elt_sales'")
        capture = Wal(self.slot, self.publication or "", self.max_slot_lag, self.heartbeat)
        return [self._extraction(one, capture) for one in self.tables]

    def _extraction(self, one: Any, capture: Wal) -> tuple[Extraction, str]:
        known = {*_NEEDED, *_OWN, "mode", "deletes", "stream"}
        if not isinstance(one, Mapping) or set(one) - known or not set(_NEEDED) <= set(one):
            raise ConfigurationError(
                f"{one!r} does not say what to read.",
                hint=f"give source_table and target_table; it may have {', '.join(sorted(known - {*_NEEDED}))}",
            )
        source, target = table(one["source_table"], "source_table"), table(one["target_table"], "target_table")
        stream = stream_name(one.get("stream"), self.source_conn_id, str(source), str(target), self.task_id)
        found = request.extraction(
            stream=stream, source_table=source, capture=capture, mode=one.get("mode", self.mode),
            deletes=one.get("deletes", self.deletes), **{name: one[name] for name in _OWN if name in one},
        )  # fmt: skip
        return found, str(target)

    def run_step(self, context: Context) -> list[dict[str, Any]]:
        """Extract."""
        wanted, run = self.extractions(), run_identity(context)
        job = self._job([extraction for extraction, _ in wanted], run)
        refs = self._stoppable(job.execute, job.source.cancel)
        return [
            {"manifest": ref.to_json(), "target_table": target} for ref, (_, target) in zip(refs, wanted, strict=True)
        ]

    def _job(self, extractions: list[Extraction], run: RunIdentity) -> ExtractSlot:
        from airflow_elt_provider.engine.slot import ExtractSlot
        from airflow_elt_provider.engine.start import StreamState
        from airflow_elt_provider.hooks.connection import hash_keys
        from airflow_elt_provider.hooks.systems import destination_hook, source_hook
        from airflow_elt_provider.operators import _lineage

        hook = source_hook(self.source_conn_id)
        source: Any = hook.get_source()
        if not hasattr(source, "log_changes"):
            raise ConfigurationError(
                f"Connection {self.source_conn_id!r} leads to a system whose log this package does not read.",
                hint="use a PostgreSQL connection, or SyncTableOperator with another capture",
            )

        def named(one: Source, extraction: Extraction) -> Source:
            return _lineage.named(one, _lineage.lineage_name(hook, extraction.table))

        destination = destination_hook(self.destination_conn_id).get_destination()
        states = self._stoppable(
            lambda: [StreamState.read(destination, extraction, run) for extraction in extractions], destination.cancel
        )
        keys = hash_keys(conn_id for extraction in extractions for conn_id in extraction.hash_columns.values())
        tables = list(zip(extractions, states, strict=True))
        for extraction in extractions:
            log.info("%s: stream of %s, load %s", extraction.stream, extraction.source, run.load_id(extraction.stream))
        return ExtractSlot(tables, run, source, self._open_stage(), keys, named)
