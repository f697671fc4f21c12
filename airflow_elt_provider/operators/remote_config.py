"""A remote's configuration as files: export it, see what differs, and bring the remote to what the files say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_elt_provider._compat import AirflowFailException, AirflowSkipException, Context
from airflow_elt_provider.core.request import truth
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.operators import _config_texts as texts
from airflow_elt_provider.operators._remote_values import rendered
from airflow_elt_provider.operators._task import EltOperator

if TYPE_CHECKING:
    from airflow_elt_provider.core.secret import Secret
    from airflow_elt_provider.remotes.config_as_code.opening import Driver
    from airflow_elt_provider.remotes.config_as_code.plan import Plan
    from airflow_elt_provider.remotes.config_as_code.work import ConfigWork

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_SCHEMAS: Final = ("new", "all", "none")
_ON_DIFFERENCE: Final = ("ignore", "warn", "fail", "skip")
_RESULT: Final = "return_value"


class RemoteConfigOperator(EltOperator):
    """Works on the configuration of a remote and the folder where its files are.

    :param conn_id: connection of the remote: Airbyte, Fivetran or Digdag.
    :param folder: URI of the folder: ``s3://``, ``gs://`` or ``file://``. (templated)
    :param folder_conn_id: connection with which it is reached.
    :param workspaces: names of the workspaces (Airbyte) or groups (Fivetran); None: for an export all that the
        credentials see, else those that the files name. (templated)
    """

    template_fields: Sequence[str] = ("folder", "workspaces")
    ui_color = "#e4e8f7"

    def __init__(
        self,
        *,
        conn_id: str,
        folder: str,
        folder_conn_id: str | None = None,
        workspaces: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.folder = folder
        self.folder_conn_id = folder_conn_id
        self.workspaces = workspaces

    def _opened(self) -> tuple[ConfigWork, Driver]:
        """Return the work, and what drives it; connections are read here and now, in the task's own thread."""
        from airflow_elt_provider.hooks.remotes import remote_hook
        from airflow_elt_provider.hooks.systems import get_folder
        from airflow_elt_provider.remotes.config_as_code.work import ConfigWork

        hook = remote_hook(self.conn_id)
        folder = get_folder(self._uri(), self.folder_conn_id)
        drive, workspaces = hook.get_driver(), texts.names_of("workspaces", self.workspaces)
        address = hook.settings().base_url
        return ConfigWork(hook.get_configuration(), drive, address, folder, workspaces, texts.Told()), drive

    def _driven(self, function: Callable[[], _T], drive: Driver) -> _T:
        """Do work that a kill can end.

        :raises TransientError: when it was ended.
        """
        try:
            return self._stoppable(function, drive.stop)
        except TransientError as error:
            if not self._stopped:
                raise
            raise TransientError("The task was told to stop.", hint="the next try goes on from here") from error

    def _uri(self) -> str:
        return rendered("folder", self.folder, "'gs://config/airbyte'")


class RemoteConfigExportOperator(RemoteConfigOperator):
    """Writes the configuration of a remote to a folder: one YAML file an object, no secrets, stable order.

    Its result (XCom) is ``{"remote", "folder", "objects", "schemas", "written", "removed", "unchanged"}``.

    :param schemas: ``new`` writes lock files of schemas where there are none; ``all`` accepts every schema as the
        server has it now; ``none`` writes none.
    """

    def __init__(self, *, schemas: str = "new", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schemas = schemas
        if not self._is_being_mapped():
            texts.refuse_unknown("schemas", schemas, _SCHEMAS)

    def run_step(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Export."""
        texts.refuse_unknown("schemas", self.schemas, _SCHEMAS)
        work, drive = self._opened()
        schemas: Any = self.schemas
        exported = self._driven(lambda: work.export(schemas=schemas), drive)
        result = exported.to_json(work.folder.uri)
        log.info("%s", texts.exported(result))
        return result


class RemoteConfigDiffOperator(RemoteConfigOperator):
    """Says how a remote differs from its files, and changes nothing.

    Its result (XCom) is ``{"equal", "differences": [{"change", "kind", "workspace", "name", "fields"}], "schemas"}``,
    also where the task then fails or is skipped.

    :param schemas: whether what the remote last discovered of its sources is held against the lock files, too.
    :param on_difference: ``ignore``, ``warn`` in the log, ``fail`` at once, or ``skip`` this task and what follows.
    """

    def __init__(self, *, schemas: bool | str = False, on_difference: str = "warn", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schemas = truth(schemas, "schemas")
        self.on_difference = on_difference
        if not self._is_being_mapped():
            texts.refuse_unknown("on_difference", on_difference, _ON_DIFFERENCE)

    def run_step(self, context: Context) -> dict[str, Any]:
        """Compare."""
        texts.refuse_unknown("on_difference", self.on_difference, _ON_DIFFERENCE)
        work, drive = self._opened()
        found = self._driven(lambda: work.diff(schemas=self.schemas), drive)
        result = found.to_json()
        what = f"{work.server.remote} at {work.address}"
        if found.equal:
            log.info("%s is as %s says.", what, work.folder.uri)
            return result
        level = logging.INFO if self.on_difference == "ignore" else logging.WARNING
        log.log(level, "%s is not as %s says:\n%s", what, work.folder.uri, "\n".join(found.lines()))
        if self.on_difference in {"fail", "skip"}:
            context["ti"].xcom_push(key=_RESULT, value=result)
            message = f"{what} is not as {work.folder.uri} says. {texts.summary(found)}"
            if self.on_difference == "skip":
                raise AirflowSkipException(message)
            remedy = "export again and review it, or bring the server back with `elt remote apply`"
            raise AirflowFailException(f"{message} Remedy: {remedy}")
        return result


class RemoteConfigApplyOperator(RemoteConfigOperator):
    """Brings a remote to what its files say, and may be repeated after a crash.

    Its result (XCom) is ``{"plan", "done", "found_done", "not_taken"}``. Where the plan cannot be carried out, or the
    remote does not take a value over, the task fails, and has a result all the same.

    :param plan: what is to be done: URI of a plan file, or the plan that another task gave (its ``plan``, or its whole
        result). Nothing is done where server or files changed since. Default: what differs now. (templated)
    :param allow_delete: whether what no file holds is deleted.
    :param write_secrets: whether secrets that files refer to are written again, of what is there already.
    :param reset: whether a connection whose sync modes, keys or cursors changed has its data reset.
    :param dry_run: whether to make and show the plan only; the task fails where it could not be carried out.
    """

    template_fields: Sequence[str] = (*RemoteConfigOperator.template_fields, "plan")

    def __init__(
        self,
        *,
        plan: Any = None,
        allow_delete: bool | str = False,
        write_secrets: bool | str = False,
        reset: bool | str = False,
        dry_run: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.allow_delete = truth(allow_delete, "allow_delete")
        self.write_secrets = truth(write_secrets, "write_secrets")
        self.reset = truth(reset, "reset")
        self.only_plans = truth(dry_run, "dry_run")
        self._has_plan = plan is not None

    def run_step(self, context: Context) -> dict[str, Any]:
        """Plan, and carry it out."""
        from airflow_elt_provider.remotes.config_as_code.apply import Applied, ApplyOptions

        work, drive = self._opened()

        def stoppable(function: Callable[[], _T]) -> _T:
            return self._driven(function, drive)

        plan = stoppable(self._given() if self._has_plan else lambda: self._made(work))
        log.info("%s", plan.text())
        result = texts.applied(plan, Applied())
        self._refuse_problems(context, plan, result)
        if self.only_plans:
            return result
        if not self._has_plan:
            plan.refuse_new_workspaces()
        if not self.allow_delete:
            plan.refuse_deletes("give allow_delete=True, or make a plan without it")
        secrets = self._secrets(plan, stoppable(work.files).objects)
        options = ApplyOptions(reset=self.reset)
        done = stoppable(lambda: work.apply(plan, secrets.__getitem__, options))
        result = texts.applied(plan, done)
        if done.not_taken:
            context["ti"].xcom_push(key=_RESULT, value=result)
            raise ConfigurationError(
                f"{plan.remote} did not take over {'; '.join(done.not_taken)}.",
                hint="write into the files what it can have, or set it in its web UI",
            )
        log.info("%s changes made, %s were made already.", len(done.done), len(done.found_done))
        return result

    def _made(self, work: ConfigWork) -> Plan:
        from airflow_elt_provider.remotes.config_as_code.plan import PlanOptions

        return work.plan(PlanOptions(allow_delete=self.allow_delete, write_secrets=self.write_secrets))

    def _given(self) -> Callable[[], Plan]:
        """Return what reads the plan that was given."""
        from airflow_elt_provider.hooks.systems import get_folder
        from airflow_elt_provider.remotes.config_as_code.plan import Plan

        text, place = texts.plan_of(self.plan)
        if text is not None:
            return lambda: Plan.from_json(text, "plan")
        folder, _, name = place.rpartition("/")
        found = get_folder(folder, self.folder_conn_id)

        def read() -> Plan:
            content = found.read_one(name)
            if content is None:
                raise ConfigurationError(f"There is no plan at {place}.", hint="make one with `elt remote plan --out`")
            return Plan.from_json(content, place)

        return read

    def _refuse_problems(self, context: Context, plan: Plan, result: dict[str, Any]) -> None:
        if plan.problems:
            context["ti"].xcom_push(key=_RESULT, value=result)
            raise ConfigurationError(f"The plan cannot be carried out: {'; '.join(plan.problems)}")

    def _secrets(self, plan: Plan, objects: Any) -> dict[str, Secret]:
        """Return what the files refer to: read now, for Airflow is not asked from an event loop."""
        from airflow_elt_provider.hooks.secret_references import airflow_secret
        from airflow_elt_provider.remotes.config_as_code.secret_values import NOT_EXPORTED, references

        files = [objects[one.key] for one in plan.changes if one.key in objects and one.action != "delete"]
        found = {text for one in files for _, text in references(one.values) if text != NOT_EXPORTED}
        return {text: airflow_secret(text) for text in sorted(found)}
