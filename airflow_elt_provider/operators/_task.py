"""What all our operators have in common: outcomes, identity, and a way to be stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_elt_provider._compat import BaseOperator, Context, setting, xcom_mapped
from airflow_elt_provider.engine.work import Work
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._outcomes import airflow_outcomes

if TYPE_CHECKING:
    from airflow_elt_provider.core.load import RunIdentity
    from airflow_elt_provider.core.protocols import Stage

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class EltOperator(BaseOperator):
    """An operator whose errors say whether a retry can help, and which can be stopped at any time."""

    _work: Work[Any] | None = None
    _stopped = False

    def execute(self, context: Context) -> Any:
        """Do the step.

        :raises AirflowFailException: where a retry cannot help.
        """
        with airflow_outcomes():
            return self.run_step(context)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], *others: Any, **named: Any
    ) -> None:
        """Render what the DAG file says, and not what another task found out.

        Airflow renders the values of ``expand_kwargs`` too: a name from a source that looks like a template would be
        one.
        """
        found = self._found_out() if parent is self and self._is_being_mapped() else frozenset()
        written = [name for name in template_fields if name not in found]
        super()._do_render_template_fields(parent, written, *others, **named)

    def _found_out(self) -> frozenset[str]:
        """Return the parameters of a mapped instance that are no templates."""
        return xcom_mapped(self)

    def run_step(self, context: Context) -> Any:
        """Do the step, raising our own errors."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Stop what runs on the servers, and the task."""
        self._stopped = True
        if self._work:
            self._work.stop()

    def _stoppable(self, function: Callable[[], _T], cancel: Callable[[], None]) -> _T:
        """Do long work that :meth:`on_kill`, a timeout or a signal can end."""
        work = Work(function, cancel)
        self._work = work
        try:
            if self._stopped:
                work.stop()
            return work.run()
        finally:
            self._work = None

    def _is_being_mapped(self) -> bool:
        """Say whether Airflow makes this instance at run time, from ``.expand()``."""
        return bool(getattr(self, "_BaseOperator__from_mapped", False))


class UsesStage(EltOperator):
    """An operator that reads or writes staged files.

    :param stage: URI of the stage: ``s3://bucket/prefix`` or ``file:///folder`` (shared by all workers); default
        option ``stage`` of section ``[elt]``. (templated)
    :param stage_conn_id: connection with which the stage is reached; default option ``stage_conn_id``.
    """

    def __init__(self, *, stage: str | None = None, stage_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.stage_conn_id = stage_conn_id

    def _open_stage(self, uri: str | None = None) -> Stage:
        """Return the stage, or the one at ``uri`` with this operator's connection.

        :raises ConfigurationError: when nobody names a stage, or it cannot be meant.
        """
        from airflow_elt_provider.hooks.systems import get_stage

        place = uri or self.stage or setting("stage")
        if not place or place == "None":
            raise ConfigurationError(
                f"Task {self.task_id!r} has no stage.",
                hint="give stage='s3://bucket/prefix' or 'file:///shared/folder', or set AIRFLOW__ELT__STAGE",
            )
        conn_id = self.stage_conn_id
        if conn_id is None and not place.startswith(("file:", "/")):
            conn_id = setting("stage_conn_id")
        return get_stage(place, conn_id)


def run_identity(context: Context) -> RunIdentity:
    """Return which run of which task this is.

    Airflow counts tries upwards for ever and moves ``max_tries`` when a user clears a task: it becomes the tries so
    far plus ``retries``. So the difference stays the same for all retries and grows with every clear. (Airflow 2 leaves
    it alone when the task is cleared while it runs: that is one more try of the same load, and as good.)
    """
    from airflow_elt_provider.core.load import RunIdentity

    ti, retries = context["ti"], context["task"].retries or 0
    generation = max(0, int(ti.max_tries or 0) - int(retries))
    return RunIdentity(ti.dag_id, ti.run_id, ti.task_id, int(getattr(ti, "map_index", -1)), generation)
