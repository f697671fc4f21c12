"""One script that publishes rows, checkpoint and receipt: all or none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect
from airflow_elt_provider.connectors.bigquery.names import literal
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.steps import MergePlan, Step
from airflow_elt_provider.core.table_ref import TableRef

STALE: Final = "elt: the checkpoint has moved"
MERGED: Final = "elt: merged already"
UNEXPECTED: Final = "elt: the target has changed"
"""Messages of the script's assertions, by which its failure is known."""


@dataclass(frozen=True)
class Script:
    """GoogleSQL of several statements.

    There is no exception block: a statement that fails ends the script, BigQuery then rolls the open transaction back,
    and the job's error is that of the statement.
    """

    sql: str
    params: tuple[Any, ...]

    @classmethod
    def merging(
        cls, dialect: BigQueryDialect, first: Step | None, plan: MergePlan, receipt: Receipt, stream: str
    ) -> Script:
        """Return the script of a merge.

        :param first: moves the checkpoint; None for a load that leaves it alone.
        """
        lines = _Lines()
        for name in ("inserted", "updated", "deleted"):
            lines.add(f"DECLARE _elt_{name} INT64 DEFAULT {getattr(receipt, name)}")
        lines.add("DECLARE _elt_rows INT64")
        lines.add("BEGIN TRANSACTION")
        if first:
            lines.add(first.sql, first.params)
            lines.add(f"ASSERT @@row_count = 1 AS {literal(STALE)}")
        else:
            # Two attempts of one load exclude each other here, and the second one finds the first one's receipt.
            lines.add(dialect.lock_stream(stream))
            known = f"SELECT 1 FROM {dialect.state('receipts')} WHERE load_id = {dialect.placeholder}"
            lines.add(f"ASSERT NOT EXISTS ({known}) AS {literal(MERGED)}", (receipt.load_id,))
        for step in plan.steps:
            lines.step(step)
        lines.add(*_receipt(dialect, receipt))
        lines.add("COMMIT TRANSACTION")
        lines.add("SELECT _elt_inserted, _elt_updated, _elt_deleted")
        return cls(lines.text, tuple(lines.params))

    @classmethod
    def of(cls, statements: Sequence[Sql]) -> Script:
        """Return statements as one script."""
        return cls(";\n".join(statements), ())


class _Lines:
    def __init__(self) -> None:
        self._lines: list[str] = []
        self.params: list[Any] = []

    def add(self, sql: str, params: Sequence[Any] = ()) -> None:
        self._lines.append(sql)
        self.params.extend(params)

    def step(self, step: Step) -> None:
        """Add a statement, its count and what is expected of it: @@row_count is that of the statement just before."""
        self.add(step.sql, step.params)
        rows = "@@row_count"
        if step.expect is not None:
            rows = "_elt_rows"
            self.add("SET _elt_rows = @@row_count")
            self.add(f"ASSERT _elt_rows = {step.expect} AS {literal(UNEXPECTED)}")
        if step.effect:
            self.add(f"SET _elt_{step.effect.value} = _elt_{step.effect.value} + {rows}")

    @property
    def text(self) -> str:
        return "".join(f"{line};\n" for line in self._lines)


def _receipt(dialect: BigQueryDialect, receipt: Receipt) -> tuple[str, tuple[Any, ...]]:
    version = "NULL" if receipt.version is None else str(receipt.version)
    p = dialect.placeholder
    sql = (
        f"INSERT INTO {dialect.state('receipts')} (load_id, run_key, stream, version, extracted, inserted, updated, "
        f"deleted, receipt, committed_at) VALUES ({p}, {p}, {p}, {version}, {receipt.extracted}, _elt_inserted, "
        f"_elt_updated, _elt_deleted, {p}, {dialect.now})"
    )
    text = json.dumps(receipt.to_json(), ensure_ascii=False)
    return sql, (receipt.load_id, receipt.run_key, receipt.stream, text)


def creating_schema(dialect: BigQueryDialect, target: TableRef, location: str) -> Sql:
    """Return what makes a table's dataset."""
    project, dataset, _ = dialect.parts(target)
    where = f" OPTIONS (location = {literal(location)})" if location else ""
    return Sql(f"CREATE SCHEMA IF NOT EXISTS {dialect.quote(project)}.{dialect.quote(dataset)}{where}")
