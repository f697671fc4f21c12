"""What the operators of all remotes have in common: start once, wait here or in the triggerer, report."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from airflow_elt_provider._compat import AirflowTaskTimeout, Context, default_deferrable
from airflow_elt_provider.core.request import truth
from airflow_elt_provider.errors import ConfigurationError, EltError, RemoteSyncError, TransientError
from airflow_elt_provider.links import RemoteSyncLink
from airflow_elt_provider.operators import _remote_assets
from airflow_elt_provider.operators._outcomes import airflow_outcomes
from airflow_elt_provider.operators._remote_values import deadline_of, positive, seconds_of
from airflow_elt_provider.operators._task import EltOperator, run_identity
from airflow_elt_provider.triggers._claims import KEY

if TYPE_CHECKING:
    from airflow_elt_provider.hooks.remotes import EltRemoteHook
    from airflow_elt_provider.operators._remote_talk import Talk
    from airflow_elt_provider.remotes.flow import Flow
    from airflow_elt_provider.remotes.model import Intents, Order, Report, Sighting, Started, Watch

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_ON_RUNNING: Final = ("adopt", "wait", "fail")
_REPORT_SECONDS: Final = 60.0
"""How long a remote may fail to tell the details of a run that has ended."""
_MARGIN: Final = timedelta(minutes=2)
"""After the trigger's own deadline, Airflow's: the trigger still cancels the run first."""


class RemoteSyncOperator(EltOperator):
    """Runs one sync of a remote, once, however often the task is tried.

    :param conn_id: connection of the remote.
    :param deferrable: whether to wait in the triggerer, without a worker's slot; default: Airflow's option
        ``[operators] default_deferrable``.
    :param on_running: what to do when somebody else's run is under way: ``adopt`` it (if it began after the start of
        the data interval; an older one is waited for), ``wait`` for its end and start another, or ``fail``.
    :param poll_interval: the most seconds between two looks; a young run is looked at more often.
    :param outage_tolerance: how long the remote may fail to answer before the task fails: a timedelta, or seconds.
    :param cancel_on_kill: whether clearing, marking, killing and ``execution_timeout`` cancel the remote run.
    """

    remote_name: ClassVar[str]
    writes_streams: ClassVar[bool] = False
    """Whether what a run reports as streams are tables: each becomes an asset."""
    _kept: Mapping[str, Any] = {}  # JSON that goes with a deferred task to where it goes on
    operator_extra_links = (RemoteSyncLink(),)
    ui_color = "#e4e8f7"

    def __init__(
        self,
        *,
        conn_id: str,
        deferrable: bool | None = None,
        on_running: str = "adopt",
        poll_interval: float = 10.0,
        outage_tolerance: timedelta | float = timedelta(minutes=30),
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.deferrable = default_deferrable() if deferrable is None else truth(deferrable, "deferrable")
        self.on_running = on_running
        self.poll_interval = poll_interval
        self.outage_tolerance = outage_tolerance
        self.cancel_on_kill = truth(cancel_on_kill, "cancel_on_kill")
        self._report: Report | None = None
        if on_running not in _ON_RUNNING and not self._is_being_mapped():
            raise ConfigurationError(f"on_running={on_running!r} is unknown.", hint=f"one of {', '.join(_ON_RUNNING)}")
        positive("poll_interval", poll_interval)
        seconds_of("outage_tolerance", outage_tolerance)
        if self.writes_streams:
            _remote_assets.declare(self, conn_id)

    # --- what each remote says ---

    def order(self, context: Context, key: str) -> Order:
        """Return what is to run."""
        raise NotImplementedError

    def before(self, remote: Any, order: Order, intents: Intents) -> Flow[None]:  # noqa: ARG002
        """Check what has to be right before a start."""
        yield from ()

    # --- the task ---

    def run_step(self, context: Context) -> Any:
        """Start or find the run, and wait for it."""
        owner = secrets.token_hex(8)
        self._note(context, owner, None)
        talk = self._talk()
        order, intents = self._order_of(context)
        try:
            while True:
                started = self._started(talk, order, intents)
                self._note(context, owner, started)
                if self.deferrable:
                    self._defer(context, owner, started)
                seen = self._waited(talk, started)
                if started.ours:
                    return self._ended(context, talk, started.watch, seen)
        finally:
            talk.transport.close()

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on where the trigger fired.

        :raises AirflowFailException: where a retry cannot help.
        """
        from airflow_elt_provider.remotes.model import Sighting, Watch

        with airflow_outcomes():
            told = event["told"]
            watch = Watch.from_json(told["watch"])
            if event["status"] == "timeout":
                raise AirflowTaskTimeout(f"{watch} has not ended within execution_timeout={self.execution_timeout}.")
            if event["status"] == "error":
                raise (TransientError if event["retryable"] else ConfigurationError)(event["message"])
            if told["how"] == "waiting":
                return self.run_step(context)
            talk = self._talk()
            context["ti"].xcom_push(key=KEY, value=told)  # Airflow 2 deletes what was there before the deferral
            try:
                return self._ended(context, talk, watch, Sighting.from_json(event["sighting"]))
            finally:
                talk.transport.close()

    def _talk(self) -> Talk:
        from airflow_elt_provider.operators._remote_talk import Talk

        hook = self.hook()
        return Talk(hook.get_remote(), hook.get_transport(), threading.Event())

    def hook(self) -> EltRemoteHook:
        """Return the hook of the connection."""
        from airflow_elt_provider.hooks.remotes import remote_hook

        return remote_hook(self.conn_id, self.remote_name)

    def _order_of(self, context: Context) -> tuple[Order, Intents]:
        from dataclasses import replace

        from airflow_elt_provider.operators._intents import begun, intents_of

        identity = run_identity(context)
        key = identity.load_id(f"{self.remote_name}:{self.conn_id}")
        order = self.order(context, key)
        return replace(order, since=begun(context, identity)), intents_of(context, key)

    def _patiently(self, flow: Callable[[], Flow[_T]]) -> Flow[_T]:
        from airflow_elt_provider.remotes.patience import patiently

        return patiently(flow, seconds_of("outage_tolerance", self.outage_tolerance), self.remote_name)

    def _started(self, talk: Talk, order: Order, intents: Intents) -> Started:
        def begin() -> Flow[Started]:
            yield from self.before(talk.remote, order, intents)
            return (yield from talk.remote.start(order, intents))

        started = self._interruptible(
            talk, self._patiently(begin), lambda: self._cancel(talk.remote.find(order, intents))
        )
        words = {
            "started": "Started", "found": "Found, started by an earlier try:", "adopted": "Adopted what runs already:",
            "waiting": "Somebody else's run comes first, waiting for",
        }  # fmt: skip
        log.info("%s %s, %s", words[started.how], started.watch, started.url)
        return started

    def _waited(self, talk: Talk, started: Started) -> Sighting:
        from airflow_elt_provider.operators._remote_talk import just
        from airflow_elt_provider.remotes.patience import until_ended
        from airflow_elt_provider.remotes.progress import Progress

        flow = until_ended(
            talk.remote,
            started.watch,
            poll_interval=self.poll_interval,
            outage_tolerance=seconds_of("outage_tolerance", self.outage_tolerance),
            listener=Progress(str(started.watch)),
        )
        return self._interruptible(talk, flow, lambda: self._cancel(just(started.watch if started.ours else None)))

    def _interruptible(self, talk: Talk, flow: Flow[_T], cancel: Callable[[], None]) -> _T:
        """Drive a flow that a kill or a timeout may end; then cancel what it waited for."""
        try:
            return self._stoppable(lambda: talk.run(flow), talk.stopped.set)
        except BaseException:
            if talk.stopped.is_set():
                cancel()
            raise

    def _cancel(self, find: Flow[Watch | None]) -> None:
        """Cancel our run; a server that does not answer is said, not raised: the task ends in any case."""
        if not self.cancel_on_kill:
            return
        talk = self._talk()
        try:
            watch = talk.run(find)
            if watch is None:
                return
            cancelled = talk.run(talk.remote.cancel(watch))
            log.info("%s: %s", watch, "cancelled." if cancelled else "not ours to cancel any more, or over.")
        except EltError as error:
            log.warning("What was started could not be cancelled: %s", error)
        finally:
            talk.transport.close()

    def _defer(self, context: Context, owner: str, started: Started) -> None:
        from airflow_elt_provider.triggers.remote import RemoteSyncTrigger

        deadline = deadline_of(context, self.execution_timeout)
        trigger = RemoteSyncTrigger(
            conn_id=self.conn_id,
            watch=started.watch.to_json(),
            poll_interval=self.poll_interval,
            outage_tolerance=seconds_of("outage_tolerance", self.outage_tolerance),
            deadline=deadline,
            owner=owner if self.cancel_on_kill and started.ours else "",
            told=self._note(context, owner, started),
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=None if deadline is None else timedelta(seconds=max(0.0, deadline - time.time())) + _MARGIN,
        )

    # --- the end ---

    def _ended(self, context: Context, talk: Talk, watch: Watch, seen: Sighting) -> dict[str, Any]:
        from airflow_elt_provider.remotes.model import Phase

        report = self._reported(talk, watch, seen)
        self._report = report
        if seen.phase is not Phase.SUCCEEDED:
            raise _failure(report)
        log.info("%s: %s", watch, _summary(report))
        if self.writes_streams:
            _remote_assets.announce(context, self, self.conn_id, report)
        return report.to_json()

    def _reported(self, talk: Talk, watch: Watch, seen: Sighting) -> Report:
        """Return what the run did. That it ended is known: what cannot be had besides changes nothing of that."""
        from airflow_elt_provider.remotes.model import Report
        from airflow_elt_provider.remotes.patience import patiently

        try:
            flow = patiently(lambda: talk.remote.report(watch, seen), _REPORT_SECONDS, self.remote_name)
            return talk.run(flow)
        except EltError as error:
            log.warning("What the run did in detail cannot be had: %s", error)
        url = talk.remote.session.settings.base_url
        return Report(self.remote_name, watch.remote_id, seen.job_id, seen.word, url, rows=seen.rows, bytes=seen.bytes)

    # --- what the triggerer and the link read ---

    def _note(self, context: Context, owner: str, started: Started | None) -> dict[str, Any]:
        note: dict[str, Any] = {"owner": owner, "remote": self.remote_name, **self._kept}
        if started:
            note |= {"watch": started.watch.to_json(), "url": started.url, "how": started.how}
        context["ti"].xcom_push(key=KEY, value=note)
        return note

    # --- lineage ---

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what OpenLineage hears: the streams that were written, with their counts."""
        from airflow_elt_provider.operators import _lineage

        if self._report is None:
            return _lineage.nothing()
        return _lineage.synced(self._report, self.hook().settings().base_url)


def _failure(report: Report) -> EltError:
    for line in report.log_tail:
        log.error("%s log: %s", report.remote, line)
    message = f"{report.remote}: {report.remote_id} ended as {report.status}. {report.reason or 'No reason is given.'}"
    if report.retryable:
        return RemoteSyncError(message, hint=f"see {report.url}")
    return ConfigurationError(message, hint=f"correct it in {report.remote}, then clear the task; see {report.url}")


def _summary(report: Report) -> str:
    counts = [("rows", report.rows), ("bytes", report.bytes)]
    said = [f"{value:,} {name}" for name, value in counts if value is not None]
    said += [f"{report.attempts} attempts"] if (report.attempts or 1) > 1 else []
    return ", ".join([report.status, *said, f"{len(report.streams)} streams", report.url])
