"""What the destination remembers of a stream, for an extract that cannot ask it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_elt_provider._compat import Context
from airflow_elt_provider.core.request import truth
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.operators._reads import stream_name
from airflow_elt_provider.operators._task import EltOperator, run_identity

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Destination
    from airflow_elt_provider.core.receipt import Receipt

log = logging.getLogger(__name__)


class CheckpointOperator(EltOperator):
    """Reads a stream's checkpoint where the destination is, for an ``ExtractOperator`` somewhere else.

    Its result is ``{"stream", "checkpoint", "receipts", "full_refresh"}``: the saved position, and what this DAG run
    has merged of the stream, which a cleared ``append`` run takes the place of.

    :param destination_conn_id: where the checkpoint lives.
    :param stream: the stream's name; or else, for the default name:
    :param source_conn_id: as in the extract.
    :param source_table: as in the extract. (templated)
    :param target_table: as in the extract. (templated)
    :param full_refresh: as in the extract; needed there with ``mode="append"``. (templated)
    """

    template_fields: Sequence[str] = ("stream", "source_table", "target_table", "full_refresh")
    ui_color = "#e8f0d8"

    def __init__(
        self,
        *,
        destination_conn_id: str,
        stream: str | None = None,
        source_conn_id: str | None = None,
        source_table: str | TableRef | None = None,
        target_table: str | TableRef | None = None,
        full_refresh: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination_conn_id = destination_conn_id
        self.stream = stream
        self.source_conn_id = source_conn_id
        self.source_table = str(source_table) if isinstance(source_table, TableRef) else source_table
        self.target_table = str(target_table) if isinstance(target_table, TableRef) else target_table
        self.full_refresh = full_refresh

    def run_step(self, context: Context) -> dict[str, Any]:
        """Ask the destination."""
        from airflow_elt_provider.hooks.systems import destination_hook

        stream = stream_name(self.stream, self.source_conn_id, self.source_table, self.target_table, self.task_id)
        refresh = truth(self.full_refresh, "full_refresh")
        run_key = None if refresh else run_identity(context).run_key(stream)
        destination = destination_hook(self.destination_conn_id).get_destination()
        found = self._stoppable(lambda: _remembered(destination, stream, run_key), destination.cancel)
        found["full_refresh"] = refresh
        log.info("%s: checkpoint: %s", stream, json.dumps(found, ensure_ascii=False))
        return found


def _remembered(destination: Destination, stream: str, run_key: str | None) -> dict[str, Any]:
    checkpoint = destination.checkpoint(stream)
    return {
        "stream": stream,
        "checkpoint": checkpoint.to_json() if checkpoint else None,
        "receipts": _small(destination.receipts(stream, run_key), with_positions=run_key is not None),
    }


def _small(receipts: Sequence[Receipt], *, with_positions: bool) -> list[dict[str, Any]]:
    """Return receipts without what no extract reads: there may be thousands, and they travel by XCom."""
    dropped: dict[str, Any] = {"schema_changes": [], "nulled": {}, "manifest": ""}
    if not with_positions:
        dropped |= {"base_position": None, "position": None}
    return [{**receipt.to_json(), **dropped} for receipt in receipts]
