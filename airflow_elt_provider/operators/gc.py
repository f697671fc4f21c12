"""Takes away staged files and staging tables that nobody needs any more."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow_elt_provider._compat import Context, setting
from airflow_elt_provider.operators._rendered import is_template, span
from airflow_elt_provider.operators._task import UsesStage

log = logging.getLogger(__name__)


class StageCleanupOperator(UsesStage):
    """Deletes the files of loads that are older than the retention, and, with a destination, dead staging tables.

    Its result (XCom) is ``{"files", "bytes", "leftovers", "staging_tables"}``.

    :param older_than: a timedelta, or days; default option ``stage_retention`` of section ``[elt]``, 7. (templated)
    :param destination_conn_id: also drop staging tables of dead attempts there.
    """

    template_fields: Sequence[str] = ("stage", "older_than")
    ui_color = "#e8e8e8"

    def __init__(
        self,
        *,
        older_than: timedelta | float | str | None = None,
        destination_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.older_than = older_than
        self.destination_conn_id = destination_conn_id
        if not self._is_being_mapped() and older_than is not None and not is_template(older_than):
            span(older_than, "older_than")

    def run_step(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Clean up."""
        from airflow_elt_provider.engine.gc import collect
        from airflow_elt_provider.hooks.systems import destination_hook

        age = self.older_than if self.older_than is not None else (setting("stage_retention") or "7")
        older_than, stage = span(age, "older_than"), self._open_stage()
        hook = destination_hook(self.destination_conn_id) if self.destination_conn_id else None
        destination = hook.get_destination() if hook else None
        done = self._stoppable(
            lambda: collect(stage, older_than, destination), destination.cancel if destination else _nothing
        )
        return {
            "files": done.files,
            "bytes": done.bytes,
            "leftovers": list(done.leftovers),
            "staging_tables": list(done.staging_tables),
        }


def _nothing() -> None:
    """Cancel nothing: deleting files stops by itself when the task ends."""
