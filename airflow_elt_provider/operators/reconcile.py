"""Proof that a target equals its source."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_elt_provider._compat import Context
from airflow_elt_provider.core import request
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._rendered import is_template, table
from airflow_elt_provider.operators._task import EltOperator

if TYPE_CHECKING:
    from airflow_elt_provider.core.plan import Extraction
    from airflow_elt_provider.core.table_ref import TableRef

log = logging.getLogger(__name__)

_SOME_TABLE = "some.table"
"""Stands for a name that is not rendered yet, where only the other parameters are looked at."""


class ReconcileOperator(EltOperator):
    """Compares a target with its source, count and content, and fails when they differ.

    Both sides hash their rows in their own SQL, bucket by bucket and at the same time; only buckets that differ are
    looked into, down to the keys. Rows that are marked as deleted or no longer current are left out of the target. What
    two systems do not write in the same text (arrays, JSON, floats on some) is left out too, and named.

    The result (XCom) is ``{"equal", "source_rows", "target_rows", "missing", "surplus", "different", "keys",
    "not_compared", "buckets", "differing_buckets", "seconds"}``; the log has it as a table.

    :param source_conn_id: a connection whose type the registry knows as a source.
    :param source_table: the table; names with dots or quotes in double quotes. (templated)
    :param query: a SELECT instead of a table, or the name of a ``.sql`` file. (templated)
    :param path: files instead of a table. They are read, and hashed by the task. (templated)
    :param where: an extra predicate in the source's SQL. (templated)
    :param destination_conn_id: a connection whose type the registry knows as a destination.
    :param target_table: as many parts as the destination has. (templated)
    :param primary_key: columns that identify a row; default: read from the source. Without any, rows are compared as
        they are, and nobody can say which ones differ.
    :param columns: source columns to compare; default all.
    :param exclude_columns: source columns to leave out.
    :param hash_columns: as the sync has it: these columns are not compared.
    :param redact_columns: likewise.
    :param rename: source name -> name in the target.
    :param column_types: source name -> type, as the sync has it.
    :param max_differences: rows that may be missing, surplus or different before the task fails. (templated)
    :param show_values: whether log and result may show the values that differ; else keys alone.
    :param max_keys: how many keys are named.
    :param retry_differing: how often keys that differ are asked for again, under new snapshots, before they count: what
        a sync is just bringing up to date is no difference.
    :param retry_pause: seconds before each of these times.
    """

    template_fields: Sequence[str] = ("source_table", "query", "path", "where", "target_table", "max_differences")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "where": "sql"}
    ui_color = "#e0f0e0"

    def __init__(
        self,
        *,
        source_conn_id: str,
        destination_conn_id: str,
        target_table: str | TableRef,
        source_table: str | TableRef | None = None,
        query: str | None = None,
        path: str | None = None,
        where: str | None = None,
        primary_key: Sequence[str] | str | None = None,
        columns: Sequence[str] | None = None,
        exclude_columns: Sequence[str] = (),
        hash_columns: Mapping[str, str] | None = None,
        redact_columns: Mapping[str, str] | Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
        column_types: Mapping[str, str] | None = None,
        max_differences: int | str = 0,
        show_values: bool = False,
        max_keys: int = 100,
        retry_differing: int = 1,
        retry_pause: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.destination_conn_id = destination_conn_id
        self.target_table = str(target_table)
        self.source_table = None if source_table is None else str(source_table)
        self.query = query
        self.path = path
        self.where = where
        self.primary_key = primary_key
        self.columns = columns
        self.exclude_columns = exclude_columns
        self.hash_columns = hash_columns
        self.redact_columns = redact_columns
        self.rename = rename
        self.column_types = column_types
        self.max_differences = max_differences
        self.show_values = show_values
        self.max_keys = max_keys
        self.retry_differing = retry_differing
        self.retry_pause = retry_pause
        if not self._is_being_mapped():
            self._extraction(_SOME_TABLE if is_template(self.source_table) else self.source_table)
            if not is_template(max_differences):
                _whole(max_differences)

    def run_step(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Compare.

        :raises DataError: when more rows differ than may.
        """
        from airflow_elt_provider.engine.reconcile import Reconcile
        from airflow_elt_provider.hooks.systems import destination_hook, source_hook

        target, allowed = table(self.target_table, "target_table"), _whole(self.max_differences)
        assert target  # noqa: S101 - it is never None
        source, destination = source_hook(self.source_conn_id, self.path), destination_hook(self.destination_conn_id)
        comparison = Reconcile(
            self._extraction(self.source_table), target, source.get_source(), destination.get_destination(),
            self.max_keys, self.show_values, self.retry_differing, self.retry_pause,
        )  # fmt: skip
        result = self._stoppable(comparison.execute, comparison.cancel)
        log.info("%s", result)
        result.refuse_beyond(allowed)
        return result.to_json()

    def _extraction(self, source_table: str | None) -> Extraction:
        return request.extraction(
            stream=self.task_id,
            source_table=table(source_table, "source_table"),
            query=self.query,
            path=self.path,
            where=None if str(self.where).strip() in {"", "None"} else self.where,
            primary_key=self.primary_key,
            columns=self.columns,
            exclude_columns=self.exclude_columns,
            hash_columns=self.hash_columns,
            redact_columns=self.redact_columns,
            rename=self.rename,
            column_types=self.column_types,
        )


def _whole(value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError(f"max_differences={value!r} is no number.", hint="give a whole number") from None
