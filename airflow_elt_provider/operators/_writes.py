"""The parameters that say where rows go, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_elt_provider.core import request
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.operators._task import EltOperator

if TYPE_CHECKING:
    from airflow_elt_provider.core.drift import DriftPolicy
    from airflow_elt_provider.core.modes import DeleteMode, WriteMode
    from airflow_elt_provider.core.plan import Merging


class MergesRows(EltOperator):
    """An operator that merges.

    :param destination_conn_id: a connection whose type the registry knows as a destination.
    :param on_schema_drift: ``evolve``, ``freeze`` or ``fail``, or a mapping from the class of change to one of them.
    :param checks: tests of the rows inside the merge's transaction: ``NotNull("id")``, ``"row_count(min=1)"`` ...
    :param max_delete_ratio: largest share of the target that one load may delete.
    :param min_deletes_for_ratio: fewer deletes than this are never held against the ratio.
    :param allow_empty: whether ``replace`` may empty a target that has rows.
    :param max_quarantined_rows: how many rows that cannot be taken may be set aside.
    :param table_options: used when the target is created.
    """

    def __init__(
        self,
        *,
        destination_conn_id: str,
        on_schema_drift: str | Mapping[str, str] | DriftPolicy = "evolve",
        checks: Sequence[Any] = (),
        max_delete_ratio: float = 0.5,
        min_deletes_for_ratio: int = 100,
        allow_empty: bool = False,
        max_quarantined_rows: int = 0,
        table_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination_conn_id = destination_conn_id
        self.on_schema_drift = on_schema_drift
        self.checks = checks
        self.max_delete_ratio = max_delete_ratio
        self.min_deletes_for_ratio = min_deletes_for_ratio
        self.allow_empty = allow_empty
        self.max_quarantined_rows = max_quarantined_rows
        self.table_options = table_options
        if not self._is_being_mapped():
            self.merging(TableRef(("some", "table")), None, None)

    def merging(self, target: TableRef, mode: str | WriteMode | None, deletes: str | DeleteMode | None) -> Merging:
        """Return how to merge.

        :raises ConfigurationError: names the parameter that cannot be meant.
        """
        return request.merging(
            target_table=target,
            mode=mode,
            deletes=deletes,
            on_schema_drift=self.on_schema_drift,
            checks=self.checks,
            max_delete_ratio=self.max_delete_ratio,
            min_deletes_for_ratio=self.min_deletes_for_ratio,
            allow_empty=self.allow_empty,
            max_quarantined_rows=self.max_quarantined_rows,
            table_options=self.table_options,
        )
