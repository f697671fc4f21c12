"""What this package takes from Airflow, on 3.x and on 2.11. Nothing else imports these names from Airflow itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import (
        Asset,
        AssetAlias,
        BaseHook,
        BaseNotifier,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        PokeReturnValue,
        TaskGroup,
    )
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )
else:
    try:
        from airflow.sdk import (
            Asset,
            AssetAlias,
            BaseHook,
            BaseNotifier,
            BaseOperator,
            BaseOperatorLink,
            BaseSensorOperator,
            Connection,
            Context,
            PokeReturnValue,
            TaskGroup,
        )
    except ImportError:  # Airflow 2
        from airflow.datasets import Dataset as Asset
        from airflow.datasets import DatasetAlias as AssetAlias
        from airflow.hooks.base import BaseHook
        from airflow.models.baseoperator import BaseOperator
        from airflow.models.baseoperatorlink import BaseOperatorLink
        from airflow.models.connection import Connection
        from airflow.notifications.basenotifier import BaseNotifier
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
        from airflow.utils.context import Context
        from airflow.utils.task_group import TaskGroup
    try:
        from airflow.sdk.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
        )
    except ImportError:  # before Airflow 3.2
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
        )

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "AssetAlias",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "PokeReturnValue",
    "TaskGroup",
    "alias_is_registered",
    "default_deferrable",
    "event_extra",
    "mask_secret",
    "max_map_length",
    "setting",
    "state_of",
    "states_of",
    "variable",
    "xcom_mapped",
]


def setting(name: str) -> str | None:
    """Return an option of section ``[elt]`` of Airflow's configuration, None where it is not set."""
    value: Any = _configuration().get("elt", name, fallback=None)
    return value or None


def default_deferrable() -> bool:
    """Return option ``default_deferrable`` of section ``[operators]``: what operators do that are not told."""
    value: bool = _configuration().getboolean("operators", "default_deferrable", fallback=False)
    return value


def max_map_length() -> int:
    """Return how many instances Airflow makes of a mapped task at most."""
    value: int = _configuration().getint("core", "max_map_length", fallback=1024)
    return value


def variable(name: str) -> str | None:
    """Return an Airflow variable, from whatever secrets backend; None where there is none."""
    try:
        from airflow.sdk import Variable
    except ImportError:  # Airflow 2
        older: Any = import_module("airflow.models").Variable
        value: str | None = older.get(name, default_var=None)
        return value
    found: str | None = Variable.get(name, default=None)
    return found


_SHORTEST_MASKED = 5


def mask_secret(text: str) -> None:
    """Let Airflow's logs, and what it shows of a task, have ``***`` in the place of this text.

    Not of one with less than five characters, as Airflow 3 has it (``min_length_masked_secret``): Airflow 2 would mask
    every ``t`` there is.
    """
    if len(text) < _SHORTEST_MASKED:
        return
    for module in ("airflow.sdk.log", "airflow.sdk.execution_time.secrets_masker", "airflow.utils.log.secrets_masker"):
        with suppress(ImportError, AttributeError):
            import_module(module).mask_secret(text)
            return


def state_of(context: Context, task_id: str) -> str | None:
    """Return the state of a task of this DAG run that is not mapped; None where it has none."""
    ti: Any = context["ti"]
    if not hasattr(ti, "get_task_states"):  # Airflow 2
        found: Any = context["dag_run"]
        instance = found.get_task_instance(task_id)
        return str(instance.state) if instance and instance.state else None
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
    state = states.get(ti.run_id, {}).get(task_id)
    return str(getattr(state, "value", state)) if state else None


def states_of(context: Context, task_id: str) -> dict[int, str | None]:
    """Return the states of a mapped task's instances in this DAG run, by map index; None where one has none."""
    ti: Any = context["ti"]
    if not hasattr(ti, "get_task_states"):  # Airflow 2
        found: Any = context["dag_run"]
        states = {one.map_index: one.state for one in found.get_task_instances() if one.task_id == task_id}
    else:
        answer = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id]).get(ti.run_id, {})
        mapped = {name.removeprefix(f"{task_id}_"): state for name, state in answer.items() if name != task_id}
        states = {int(at): state for at, state in mapped.items()}
    return {at: str(getattr(state, "value", state)) if state else None for at, state in states.items() if at >= 0}


def xcom_mapped(operator: BaseOperator) -> frozenset[str]:
    """Return the templated parameters of a mapped task's instance that another task's XCom gave, not the DAG file."""
    dag: Any = operator.dag
    task = dag.get_task(operator.task_id)
    given = task.expand_input.value
    partial: Mapping[str, Any] = task.partial_kwargs
    if hasattr(given, "resolve"):  # expand_kwargs: what it names is known only at run time
        defaults = {**dag.default_args, **(getattr(task.task_group, "default_args", None) or {})}
        return frozenset(
            name
            for name in task.template_fields
            if name not in partial and (name not in defaults or getattr(operator, name) != defaults[name])
        )
    if not isinstance(given, Mapping):
        return frozenset()
    return frozenset(name for name, value in given.items() if hasattr(value, "resolve"))


def _configuration() -> Any:
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # before Airflow 3.2
        from airflow.configuration import conf
    return conf


def event_extra(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra of an asset event as this Airflow takes it: Airflow 2 wants lists as JSON texts."""
    if AssetAlias.__name__ == "AssetAlias":
        return dict(extra)
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in extra.items()}


def alias_is_registered(alias: AssetAlias) -> bool:
    """Say whether an event may be sent by this alias.

    Airflow 2 fails a task whose alias is not in its database, which is so under `airflow dags test` of a DAG that no
    scheduler has seen. Airflow 3 registers aliases by itself.
    """
    try:
        models = import_module("airflow.models.dataset")
    except ImportError:
        return True
    from airflow.utils.session import create_session

    with create_session() as session:
        found: int = session.query(models.DatasetAliasModel).filter_by(name=alias.name).count()
        return found > 0
