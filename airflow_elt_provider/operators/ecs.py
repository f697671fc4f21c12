"""Workers on Amazon ECS: as many as a load needs, and none when it is over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowTaskTimeout, Context, default_deferrable
from airflow_elt_provider.core.request import truth
from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.operators._outcomes import airflow_outcomes
from airflow_elt_provider.operators._remote_values import deadline_of, positive, rendered, seconds_of
from airflow_elt_provider.operators._rendered import is_template
from airflow_elt_provider.operators._task import EltOperator

if TYPE_CHECKING:
    from airflow_elt_provider.hooks.ecs import EcsService, ServiceState

log = logging.getLogger(__name__)

_MARGIN: Final = timedelta(minutes=2)
"""After the trigger's own deadline, Airflow's: the trigger's knows how the service stands."""


class EcsServiceScaleOperator(EltOperator):
    """Sets the desired count of an ECS service and waits until that many tasks run.

    To ask for the count that is set already changes nothing, so it may be retried and repeated. The result (XCom) is
    ``{"cluster", "service", "desired", "running", "seconds"}``. Needed are ``ecs:UpdateService`` and
    ``ecs:DescribeServices``; with ``ecs:ListTasks`` and ``ecs:DescribeTasks`` a failure also says why tasks stopped.

    :param cluster: name or ARN of the cluster. (templated)
    :param service: name or ARN of the service. (templated)
    :param desired_count: how many tasks are to run. (templated)
    :param aws_conn_id: a connection of type ``aws``; None: boto3 looks where it always looks.
    :param region_name: default: the connection's.
    :param deferrable: whether to wait in the triggerer, without a worker's slot; default: Airflow's option
        ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks.
    :param timeout: how long the tasks may take to come: a timedelta, or seconds.
    :param count_on_failure: desired count to set when the task fails for good, so that nothing stays behind that no
        scale-in will end (a teardown does not run after a setup that failed); None: leave the service alone.
        :meth:`scale_in` sets it.
    """

    template_fields: Sequence[str] = ("cluster", "service", "desired_count", "count_on_failure")
    ui_color = "#f8e8d0"

    def __init__(
        self,
        *,
        cluster: str,
        service: str,
        desired_count: int | str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        deferrable: bool | None = None,
        poll_interval: float = 15.0,
        timeout: timedelta | float = timedelta(minutes=20),
        count_on_failure: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster = cluster
        self.service = service
        self.desired_count = desired_count
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.deferrable = default_deferrable() if deferrable is None else truth(deferrable, "deferrable")
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.count_on_failure = count_on_failure
        positive("poll_interval", poll_interval)
        seconds_of("timeout", timeout)
        if not self._is_being_mapped() and not is_template(desired_count):
            _count("desired_count", desired_count)

    def scale_in(
        self, desired_count: int | str = 0, *, task_id: str | None = None, **kwargs: Any
    ) -> EcsServiceScaleOperator:
        """Return the task that takes the workers away again: this task's teardown, run whether the load succeeded.

        Airflow leaves a teardown out of the DAG run's state, so a run whose load failed is failed, though its last
        task succeeded. ``on_failure_fail_dagrun`` of ``as_teardown`` would have the teardown alone decide: see
        the documentation before you set it.

        :param desired_count: how many tasks stay. (templated)
        :param task_id: default: this task's id and ``_end``.
        :param kwargs: parameters that are not this task's.
        """
        self.count_on_failure = desired_count if is_template(desired_count) else _count("desired_count", desired_count)
        same: dict[str, Any] = {name: getattr(self, name) for name in (
            "cluster", "service", "aws_conn_id", "region_name", "deferrable", "poll_interval", "timeout",
        )}  # fmt: skip
        label = self.label or self.task_id
        task = type(self)(task_id=task_id or f"{label}_end", desired_count=desired_count, **{**same, **kwargs})
        task.as_teardown(setups=self)
        return task

    def run_step(self, context: Context) -> dict[str, Any]:
        """Ask for the tasks, and wait for them here or in the triggerer."""
        wanted = _count("desired_count", self.desired_count)
        told = {
            "cluster": rendered("cluster", self.cluster, "'workers'"),
            "service": rendered("service", self.service, "'celery-worker'"),
            "wanted": wanted, "began": time.time(), "asked": int(context["ti"].try_number) > 1,
        }  # fmt: skip
        with self._given_back(context, told):
            service = self._service(told)
            log.info("%s: %s; asking for %d.", service, service.look(), wanted)
            told["asked"] = True
            service.scale(wanted)
            if self.deferrable:
                self._defer(context, told)
            over = threading.Event()
            return self._stoppable(lambda: self._waited(context, service, told, over), over.set)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on where the trigger fired.

        :raises AirflowFailException: where a retry cannot help.
        """
        from airflow_elt_provider.hooks.ecs import ServiceState

        # Not from the parameters: `airflow tasks test` of Airflow 2 does not render them again.
        told = event["told"]
        with airflow_outcomes(), self._given_back(context, told):
            if event["status"] == "error":
                raise ConfigurationError(event["message"])
            state = ServiceState.from_json(event["state"]) if event["state"] else None
            return _ended(self._service(told), told, event["status"], state)

    def _service(self, told: dict[str, Any]) -> EcsService:
        from airflow_elt_provider.hooks.ecs import EltEcsHook

        return EltEcsHook(self.aws_conn_id, self.region_name).get_service(told["cluster"], told["service"])

    def _deadline(self, context: Context) -> float:
        limits = [time.time() + seconds_of("timeout", self.timeout)]
        own = deadline_of(context, self.execution_timeout)
        return min([*limits, own] if own else limits)

    def _defer(self, context: Context, told: dict[str, Any]) -> None:
        from airflow_elt_provider.triggers.ecs import EcsServiceTrigger

        deadline = self._deadline(context)
        trigger = EcsServiceTrigger(
            told["cluster"], told["service"], told["wanted"], deadline, self.aws_conn_id, self.region_name,
            self.poll_interval, told,
        )  # fmt: skip
        left = timedelta(seconds=max(0.0, deadline - time.time()))
        self.defer(trigger=trigger, method_name="execute_complete", timeout=left + _MARGIN)

    def _waited(
        self, context: Context, service: EcsService, told: dict[str, Any], over: threading.Event
    ) -> dict[str, Any]:
        deadline, state, status = self._deadline(context), None, None
        while status is None:
            is_over = time.time() >= deadline
            try:
                state = service.look()
                log.info("%s: %s", service, state)
                status = state.verdict(told["wanted"])
            except TransientError as error:
                log.warning("%s Looking again.", error)
            if status is None and is_over:
                status = "timeout"
            elif status is None and over.wait(max(0.0, min(self.poll_interval, deadline - time.time()))):
                raise TransientError(f"{service}: the task was told to stop.")
        return _ended(service, told, status, state)

    @contextmanager
    def _given_back(self, context: Context, told: dict[str, Any]) -> Iterator[None]:
        """Set ``count_on_failure`` when the task fails for good, unless no try has asked for anything yet."""
        try:
            yield
        except (EltError, AirflowTaskTimeout) as error:
            if self.count_on_failure is not None and told["asked"] and _is_final(context, error):
                self._give_back(told, _count("count_on_failure", self.count_on_failure))
            raise

    def _give_back(self, told: dict[str, Any], count: int) -> None:
        try:
            service = self._service(told)
            service.scale(count)
        except EltError as error:
            log.warning("The desired count could not be set back to %d: %s", count, error)
        else:
            log.warning("%s: the workers did not come; the desired count is %d again.", service, count)


def _is_final(context: Context, error: BaseException) -> bool:
    """Say whether no other try will follow."""
    ti = context["ti"]
    return isinstance(error, ConfigurationError) or int(ti.try_number) > int(ti.max_tries or 0)


def _ended(service: EcsService, told: dict[str, Any], status: str, state: ServiceState | None) -> dict[str, Any]:
    seconds = round(time.time() - told["began"], 1)
    if status == "stable" and state:
        log.info("%s: stable after %.1f s: %s", service, seconds, state)
        return {
            "cluster": told["cluster"], "service": told["service"], "desired": state.desired,
            "running": state.running, "seconds": seconds,
        }  # fmt: skip
    if state is None:
        raise TransientError(f"{service}: AWS did not answer for {seconds:.0f} s.")
    raise _unstable(service, told["wanted"], state, seconds, gave_up=status == "failed")


def _unstable(
    service: EcsService, wanted: int, state: ServiceState, seconds: float, *, gave_up: bool
) -> ConfigurationError | TransientError:
    """Return the error of a service that does not become stable: counts, events, reasons, remedy."""
    try:
        reasons = service.stopped()
    except EltError as error:
        reasons = [f"why tasks stopped cannot be read: {error.message}"]
    for kind, lines in (("event", state.events), ("stopped task", reasons)):
        for line in lines:
            log.error("%s: %s: %s", service, kind, line)
    what = f"ECS gave the deployment up ({state.reason})" if gave_up else f"not stable after {seconds:.0f} s"
    message = f"{service}: {what}: {state}, {wanted} are wanted."
    if state.desired != wanted:
        message += f" Somebody else has set the desired count to {state.desired} (autoscaling, or another run)."
    message += "".join(f" Event: {line}" for line in state.events[:1])
    message += "".join(f" Stopped: {line}" for line in reasons[:2])
    hint = service.remedy(state, reasons)
    return ConfigurationError(message, hint=hint) if gave_up else TransientError(message, hint=hint)


def _count(name: str, value: Any) -> int:
    """Return a number of tasks.

    :raises ConfigurationError: when it is none.
    """
    try:
        count = int(str(value))
    except ValueError:
        count = -1
    if isinstance(value, bool) or count < 0:
        raise ConfigurationError(f"{name}={value!r} is no number of tasks.", hint="0 or more")
    return count
