"""What this package takes from Airflow, on 3.x and on 2.11. Nothing else imports these names from Airflow itself."""

from __future__ import annotations

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
    "max_map_length",
    "setting",
    "state_of",
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


def _configuration() -> Any:
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # before Airflow 3.2
        from airflow.configuration import conf
    return conf


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
