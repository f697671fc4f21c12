"""Runs syncs of remote engines: Airbyte, Fivetran, Digdag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow_elt_provider._compat import Context
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._remote_task import RemoteSyncOperator
from airflow_elt_provider.operators._remote_values import parsed_time, rendered
from airflow_elt_provider.operators._schema_gate import GatedSyncOperator
from airflow_elt_provider.operators._task import EltOperator, run_identity

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.flow import Flow
    from airflow_elt_provider.remotes.model import Intents, Order

_RESUME = ("failed", "none")


class AirbyteSyncOperator(GatedSyncOperator):
    """Runs a sync of an Airbyte connection, on request only where its source has the schema that was accepted.

    Its result (XCom) is ``{"remote", "remote_id", "job_id", "status", "started_at", "finished_at", "rows", "bytes",
    "attempts", "streams", "url"}``.

    :param connection_id: UUID of Airbyte's connection. (templated)

    ``schema_lock`` and what goes with it: see
    :class:`~airflow_elt_provider.operators._schema_gate.GatedSyncOperator`.
    """

    remote_name = "airbyte"
    writes_streams = True

    def order(self, context: Context, key: str) -> Order:
        """Return what is to run."""
        connection_id = rendered("connection_id", self.connection_id, "'7d9c…', the UUID in the address of the web UI")
        return _order(self, context, key, connection_id)


class FivetranSyncOperator(GatedSyncOperator):
    """Runs a sync of a Fivetran connection. It is never forced: what runs already is not interrupted.

    :param connection_id: Fivetran's id of the connection. (templated)
    :param preflight: checks before the start, any of ``agent`` (the hybrid deployment agent is online and has room),
        ``private_link`` (its state is OK) and ``setup_tests`` (all pass; Fivetran's quota is 2,500 an hour).
    """

    remote_name = "fivetran"
    writes_streams = True

    def __init__(self, *, preflight: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.preflight = [preflight] if isinstance(preflight, str) else list(preflight or ())
        refuse_unknown_checks(self.preflight)

    def order(self, context: Context, key: str) -> Order:
        """Return what is to run."""
        return _order(self, context, key, self._id())

    def before(self, remote: Any, order: Order, intents: Intents) -> Flow[None]:
        """Run the checks, unless the sync that an earlier try started still runs; then look at the schema."""
        from airflow_elt_provider.remotes.fivetran_checks import run_checks

        begun = self.preflight and intents.read() is not None and (yield from remote.connection(self._id())).syncing
        if not begun:
            yield from run_checks(remote, self._id(), self.preflight)
        yield from super().before(remote, order, intents)

    def _id(self) -> str:
        return rendered("connection_id", self.connection_id, "'speak_inexpensive', as in the connection's Setup tab")


class DigdagSyncOperator(RemoteSyncOperator):
    """Runs a workflow of a Digdag server.

    The attempt's session time and retry name are made of this run of the task: starting it again finds it.

    :param project: project. (templated)
    :param workflow: workflow. (templated)
    :param params: parameters of the attempt. Airflow mixes them with the DAG's own ``params``, checks them as those,
        and takes no task's output here: ``attempt_params`` knows none of that.
    :param attempt_params: parameters of the attempt, before those in ``params``. (templated)
    :param session_time: the session's time, ISO 8601; default: the run's logical date, else when it began. (templated)
    :param resume: what a retry after a failed attempt does: ``failed`` goes on from the failed tasks, ``none`` begins
        anew.
    """

    remote_name = "digdag"
    template_fields: Sequence[str] = ("project", "workflow", "attempt_params", "session_time")

    def __init__(
        self,
        *,
        project: str,
        workflow: str,
        params: Mapping[str, Any] | None = None,
        attempt_params: Mapping[str, Any] | None = None,
        session_time: str | None = None,
        resume: Literal["failed", "none"] = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.workflow = workflow
        self.attempt_params: Any = attempt_params
        self._given = self._own(params or {})
        self.session_time = session_time
        self.resume = resume
        if resume not in _RESUME and not self._is_being_mapped():
            raise ConfigurationError(f"resume={resume!r} is unknown.", hint=f"one of {', '.join(_RESUME)}")

    def order(self, context: Context, key: str) -> Order:
        """Return what is to run."""
        from airflow_elt_provider.remotes.digdag import DigdagOrder

        project = rendered("project", self.project, "'elt'")
        workflow = rendered("workflow", self.workflow, "'daily'")
        return DigdagOrder(
            f"{project}/{workflow}",
            key,
            self.on_running,  # type: ignore[arg-type]
            _interval_start(context),
            session_time=self._session_time(context),
            params={**self._rendered(context), **(self.attempt_params or {})},
            family=replace(run_identity(context), generation=0).load_id(f"{self.remote_name}:{self.conn_id}"),
            resume=self.resume,
        )

    def _own(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters less those that Airflow has put in from the DAG."""
        dag = self.get_dag()
        common = dict(dag.params) if dag else {}
        return {name: value for name, value in dict(params).items() if name not in common or common[name] != value}

    def _rendered(self, context: Context) -> dict[str, Any]:
        """Return ``params`` rendered; they are no template field, for Airflow has one of that name."""
        found: dict[str, Any] = self.render_template(self._given, context)
        return found

    def _session_time(self, context: Context) -> datetime:
        if self.session_time in {None, "", "None"}:
            found = context.get("logical_date") or getattr(context.get("dag_run"), "run_after", None)
            return found or datetime.now(UTC)
        return parsed_time("session_time", str(self.session_time))


class FivetranPreflightOperator(EltOperator):
    """Checks a Fivetran connection and changes nothing; fails with the remedy where something is wrong.

    Its result (XCom) is a sentence for each check.

    :param conn_id: connection of Fivetran.
    :param connection_id: Fivetran's id of the connection. (templated)
    :param checks: any of ``agent``, ``private_link`` and ``setup_tests``, as ``preflight`` of
        :class:`FivetranSyncOperator`.
    """

    template_fields: Sequence[str] = ("connection_id",)
    ui_color = "#e4e8f7"

    def __init__(self, *, conn_id: str, connection_id: str, checks: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.connection_id = connection_id
        self.checks = [checks] if isinstance(checks, str) else list(checks or ())
        if not self.checks:
            raise ConfigurationError("There is nothing to check.", hint="write checks=['agent'], for instance")
        refuse_unknown_checks(self.checks, "checks")

    def run_step(self, context: Context) -> dict[str, str]:  # noqa: ARG002
        """Check."""
        from airflow_elt_provider.hooks.fivetran import EltFivetranHook
        from airflow_elt_provider.remotes.fivetran_checks import run_checks
        from airflow_elt_provider.remotes.flow import readable, run

        hook = EltFivetranHook(self.conn_id)
        transport = hook.get_transport()
        try:
            wanted = rendered("connection_id", self.connection_id, "'speak_inexpensive'")
            return run(readable(run_checks(hook.get_remote(), wanted, self.checks), "Fivetran"), transport)
        finally:
            transport.close()


def refuse_unknown_checks(checks: Sequence[str], parameter: str = "preflight") -> None:
    """Refuse the name of a check that there is not.

    :raises ConfigurationError: lists those that there are.
    """
    known = ("agent", "private_link", "setup_tests")
    for name in checks:
        if name not in known:
            raise ConfigurationError(f"{parameter} has {name!r}.", hint=f"any of {', '.join(known)}")


def _order(operator: RemoteSyncOperator, context: Context, key: str, remote_id: str) -> Order:
    from airflow_elt_provider.remotes.model import Order

    return Order(remote_id, key, operator.on_running, _interval_start(context))  # type: ignore[arg-type]


def _interval_start(context: Context) -> datetime | None:
    found: datetime | None = context.get("data_interval_start")
    return found
