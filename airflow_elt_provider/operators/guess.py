"""How the rows stand in files, at run time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from airflow_elt_provider._compat import Context
from airflow_elt_provider.operators._task import EltOperator

log = logging.getLogger(__name__)


class GuessSchemaOperator(EltOperator):
    """Guesses format and types of the first file of a path, and holds the whole file against them.

    Its result (XCom) is ``{"path", "file", "files", "file_format", "column_types", "exclude_columns", "primary_key",
    "rows_sampled", "format", "columns", "warnings", "other_headers", "validation", "operator"}``; ``file_format``,
    ``column_types`` and ``exclude_columns`` are what a
    :class:`~airflow_elt_provider.operators.sync.SyncTableOperator` takes. Reasons, and what
    does not fit, quote single values of the file.

    :param source_conn_id: a connection that leads to files: ``aws``, ``google_cloud_platform`` or ``fs``.
    :param path: as of a ``SyncTableOperator``. (templated)
    :param validate: whether the whole file is read.
    :param fail_on_misfits: whether the task fails where something does not fit, or another file has another header.
    :param max_shown: how many misfits are in the result.
    """

    template_fields: Sequence[str] = ("path",)
    ui_color = "#e8f4f0"

    def __init__(
        self,
        *,
        source_conn_id: str,
        path: str,
        validate: bool = True,
        fail_on_misfits: bool = False,
        max_shown: int = 20,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.path = path
        self.validate = validate
        self.fail_on_misfits = fail_on_misfits
        self.max_shown = max_shown

    def run_step(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Guess."""
        from airflow_elt_provider.connectors.files.guessing import guess_path
        from airflow_elt_provider.formats.guess_report import Call
        from airflow_elt_provider.hooks.files import EltFilesHook

        store = EltFilesHook(self.source_conn_id).get_stage
        found = self._stoppable(
            lambda: guess_path(self.path, store, validate=self.validate, max_shown=self.max_shown), _nothing
        )
        call = Call(found.guess, self.path, self.source_conn_id)
        log.info("%s\n\n%s", found.guess, call.python())
        if found.check:
            log.info("validation: %s", found.check)
        if found.problem and self.fail_on_misfits:
            raise found.problem
        return {**found.to_json(), "operator": call.parameters()}


def _nothing() -> None:
    """Cancel nothing: a file is read on this worker, and the thread ends with the task."""
