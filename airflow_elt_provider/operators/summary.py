"""What became of all tables of ``sync_tables``; the last task of the group."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_elt_provider._compat import AirflowSkipException, Context, state_of, states_of
from airflow_elt_provider.core.text_table import text_table
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.operators._table_outcomes import COUNTS, KEY
from airflow_elt_provider.operators._task import EltOperator

log = logging.getLogger(__name__)
_NAMED = 10
"""Failed tables that the error names; the log and the XCom have all."""
_SILENT = "it said nothing: killed, not started, or not buildable from its parameters; see the log of its task"
_WIDE = 400


class SyncSummaryOperator(EltOperator):
    """Sums up a mapped sync once all of its tables are done, and fails when one of them failed.

    Its result (XCom, of a failed summary too) is ``{"tables", "succeeded", "skipped", "failed": [{"table", "reason"},
    ...], "extracted", "inserted", "updated", "deleted", "quarantined", "bytes_staged"}``.

    :param tables_task_id: the task that found the tables.
    :param sync_task_id: the mapped task that moved them.
    """

    ui_color = "#f8f8d8"

    def __init__(self, *, tables_task_id: str, sync_task_id: str, **kwargs: Any) -> None:
        super().__init__(**{"trigger_rule": "all_done", **kwargs})
        self.tables_task_id = tables_task_id
        self.sync_task_id = sync_task_id

    def run_step(self, context: Context) -> dict[str, Any]:
        """Sum up.

        :raises DataError: when a table failed.
        """
        found = context["ti"].xcom_pull(task_ids=self.tables_task_id)
        if found is None:
            return self._nothing_found(context)
        told = context["ti"].xcom_pull(task_ids=[self.sync_task_id], key=KEY) or ()
        states = states_of(context, self.sync_task_id)
        skipped = {at for at, state in states.items() if state == "skipped"}
        summary = Summary.of([item["source_table"] for item in found], [one for one in told if one], skipped)
        log.info("%s", summary)
        if summary.failed:
            context["ti"].xcom_push(key="return_value", value=summary.to_json())
            raise summary.error()
        return summary.to_json()

    def _nothing_found(self, context: Context) -> dict[str, Any]:
        state = state_of(context, self.tables_task_id)
        if state == "skipped":
            raise AirflowSkipException(f"Task {self.tables_task_id} was skipped: there is nothing to sum up.")
        raise DataError(
            f"No table was synced: task {self.tables_task_id!r}, which finds them, is {state or 'without a state'}.",
            hint="see its log, and clear it with the tasks behind it",
        )


@dataclass(frozen=True)
class Summary:
    """What became of each table.

    :param tables: all of them, in order.
    :param reasons: of those that failed.
    :param counts: of all that succeeded, added up.
    :param skipped: how many were skipped.
    """

    tables: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: int = 0

    @classmethod
    def of(cls, tables: Sequence[str], outcomes: Sequence[dict[str, Any]], skipped: Collection[int] = ()) -> Summary:
        """Hold what the tables left against those that there are.

        :param skipped: places of those whose tasks were skipped.
        """
        left = {(outcome["map_index"], outcome["table"]): outcome for outcome in outcomes}
        told = {
            table: left.get((at, table), {"reason": _SILENT}) for at, table in enumerate(tables) if at not in skipped
        }
        reasons = {table: outcome["reason"] for table, outcome in told.items() if "reason" in outcome}
        done = [outcome for outcome in told.values() if "reason" not in outcome]
        return cls(
            tuple(tables), reasons, {name: sum(one[name] for one in done) for name in COUNTS}, len(tables) - len(told)
        )

    @property
    def failed(self) -> bool:
        """Whether a table failed."""
        return bool(self.reasons)

    @property
    def succeeded(self) -> int:
        """How many tables were synced."""
        return len(self.tables) - len(self.reasons) - self.skipped

    def to_json(self) -> dict[str, Any]:
        """Return the result of the operator's documentation."""
        failed = [{"table": table, "reason": reason} for table, reason in self.reasons.items()]
        counts = {"tables": len(self.tables), "succeeded": self.succeeded, "skipped": self.skipped}
        return {**counts, "failed": failed, **self.counts}

    def __str__(self) -> str:
        counts = ", ".join(
            f"{self.counts[name]:,} {name}" for name in ("inserted", "updated", "deleted", "quarantined")
        )
        skipped = f", {self.skipped:,} skipped" if self.skipped else ""
        said = f"{self.succeeded:,} of {len(self.tables):,} tables synced{skipped}: {counts}"
        if not self.reasons:
            return said
        return f"{said}\n{text_table(['failed', 'reason'], list(self.reasons.items()), most=_WIDE)}"

    def error(self) -> DataError:
        """Return the error that makes the DAG run red."""
        named = ", ".join(list(self.reasons)[:_NAMED])
        more = len(self.reasons) - _NAMED
        return DataError(
            f"{len(self.reasons):,} of {len(self.tables):,} tables failed: {named}"
            f"{f' and {more:,} more' if more > 0 else ''}.",
            hint="see the table above; mend the cause and clear the failed instances, with the tasks behind them",
        )
