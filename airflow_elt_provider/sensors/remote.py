"""Waits for syncs that others start."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_elt_provider._compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    default_deferrable,
)
from airflow_elt_provider.core.request import truth
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.operators._outcomes import airflow_outcomes
from airflow_elt_provider.operators._remote_values import deadline_of, parsed_time, positive, rendered, seconds_of

if TYPE_CHECKING:
    from airflow_elt_provider.hooks.remotes import EltRemoteHook
    from airflow_elt_provider.remotes.model import Report, Sighting, Watch

log = logging.getLogger(__name__)

_MARGIN = timedelta(minutes=2)


class RemoteSyncSensor(BaseSensorOperator):
    """Waits until a sync of a remote, whoever started it, has succeeded after a time.

    A sync that fails is waited past: the next one may succeed. Its result (XCom) is that of the sync operators.

    :param conn_id: connection of the remote: Airbyte, Fivetran or Digdag.
    :param remote_id: what is synced: Airbyte's connection UUID, Fivetran's connection id, Digdag's
        ``project/workflow``. (templated)
    :param completed_after: the sync has to have ended at or after this time, ISO 8601, e.g.
        ``"{{ data_interval_end }}"``. (templated)
    :param deferrable: whether to wait in the triggerer; default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: the most seconds between two looks, in the triggerer (else the sensor's ``poke_interval``).
    :param outage_tolerance: how long the remote may fail to answer: a timedelta, or seconds.
    """

    template_fields: Sequence[str] = ("remote_id", "completed_after")
    ui_color = "#e4e8f7"

    def __init__(
        self,
        *,
        conn_id: str,
        remote_id: str,
        completed_after: str,
        deferrable: bool | None = None,
        poll_interval: float = 30.0,
        outage_tolerance: timedelta | float = timedelta(minutes=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.remote_id = remote_id
        self.completed_after = completed_after
        self.deferrable = default_deferrable() if deferrable is None else truth(deferrable, "deferrable")
        self.poll_interval = poll_interval
        self.outage_tolerance = outage_tolerance
        self._silent_since: float | None = None
        positive("poll_interval", poll_interval)
        seconds_of("outage_tolerance", outage_tolerance)

    def execute(self, context: Context) -> Any:
        """Wait, here or in the triggerer.

        :raises AirflowFailException: where a retry cannot help.
        """
        with airflow_outcomes():
            watch = self._watch()
            self._refuse_unknown(watch)
            log.info("Waiting for a sync of %s that succeeds at or after %s.", watch.remote_id, watch.after)
            if not self.deferrable:
                return super().execute(context)
            return self._defer(context, watch)

    def _refuse_unknown(self, watch: Watch) -> None:
        """Ask once for what is waited for: a wrong id or password is said now, not when the time is over."""
        from airflow_elt_provider.remotes.flow import readable, run

        hook = self._hook()
        remote, transport = hook.get_remote(), hook.get_transport()
        try:
            run(readable(remote.refuse_unknown(watch.remote_id), remote.name), transport)
        except TransientError as error:
            log.warning("%s Waiting all the same.", error)
        finally:
            transport.close()

    def _defer(self, context: Context, watch: Watch) -> None:
        from airflow_elt_provider.triggers.remote import RemoteSyncTrigger

        limits = [float(self.timeout), *([self.execution_timeout.total_seconds()] if self.execution_timeout else [])]
        deadline = deadline_of(context, timedelta(seconds=min(limits)))
        trigger = RemoteSyncTrigger(
            conn_id=self.conn_id,
            watch=watch.to_json(),
            poll_interval=self.poll_interval,
            outage_tolerance=seconds_of("outage_tolerance", self.outage_tolerance),
            deadline=deadline,
            told={"watch": watch.to_json()},
        )
        left = max(0.0, (deadline or 0.0) - time.time())
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=left) + _MARGIN)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:  # noqa: ARG002
        """Go on where the trigger fired.

        :raises AirflowSensorTimeout: when no sync succeeded in time; skipped instead with ``soft_fail``.
        """
        from airflow_elt_provider.remotes.model import Sighting, Watch

        with airflow_outcomes():
            # Not from the parameters: `airflow tasks test` of Airflow 2 does not render them again.
            watch = Watch.from_json(event["told"]["watch"])
            if event["status"] == "timeout":
                message = f"{watch.remote_id}: no sync has succeeded after {watch.after} within the time limit."
                raise (AirflowSkipException if self.soft_fail else AirflowSensorTimeout)(message)
            if event["status"] == "error":
                raise (TransientError if event["retryable"] else ConfigurationError)(event["message"])
            return self._report(watch, Sighting.from_json(event["sighting"])).to_json()

    def poke(self, context: Context) -> PokeReturnValue | bool:  # noqa: ARG002
        """Look once."""
        from airflow_elt_provider.remotes.flow import readable, run

        watch, hook = self._watch(), self._hook()
        transport = hook.get_transport()
        try:
            remote = hook.get_remote()
            seen = run(readable(remote.look([watch]), remote.name), transport).get(watch)
        except TransientError as error:
            self._bear(error)
            return False
        finally:
            transport.close()
        self._silent_since = None
        log.info("%s: %s", watch, seen or "nothing yet")
        if seen is None or not seen.ended:
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._report(watch, seen).to_json())

    def _bear(self, error: TransientError) -> None:
        now = time.monotonic()
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since > seconds_of("outage_tolerance", self.outage_tolerance):
            raise error
        log.warning("%s Looking again later.", error)

    def _report(self, watch: Watch, seen: Sighting) -> Report:
        from airflow_elt_provider.remotes.flow import run
        from airflow_elt_provider.remotes.patience import patiently

        hook = self._hook()
        remote, transport = hook.get_remote(), hook.get_transport()
        tolerance = seconds_of("outage_tolerance", self.outage_tolerance)
        try:
            return run(patiently(lambda: remote.report(watch, seen), tolerance, remote.name), transport)
        finally:
            transport.close()

    def _hook(self) -> EltRemoteHook:
        from airflow_elt_provider.hooks.remotes import remote_hook

        return remote_hook(self.conn_id)

    def _watch(self) -> Watch:
        from airflow_elt_provider.remotes.model import Watch

        after = rendered("completed_after", self.completed_after, "'{{ data_interval_end }}'")
        remote_id = rendered("remote_id", self.remote_id, "'7d9c…'")
        return Watch(remote_id, after=parsed_time("completed_after", after).isoformat())
