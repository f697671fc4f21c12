"""Runs DAGs in this process: `dag.test()` on a file in the private DAG folder, for both lines of Airflow."""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

AIRFLOW_2 = version("apache-airflow").startswith("2.")
DATE = datetime(2026, 1, 5, tzinfo=UTC)
_NUMBERS = itertools.count()
HEAD = """
from datetime import UTC, datetime, timedelta
try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task
from airflow_elt_provider.operators.checkpoint import CheckpointOperator
from airflow_elt_provider.operators.extract import ExtractOperator
from airflow_elt_provider.operators.gc import StageCleanupOperator
from airflow_elt_provider.operators.merge import MergeOperator
from airflow_elt_provider.operators.stage import StageOperator
from airflow_elt_provider.operators.sync import SyncTableOperator
from airflow_elt_provider.task_groups import sync_tables
START = datetime(2026, 1, 1, tzinfo=UTC)
"""


@dataclass
class Run:
    """What a DAG run left."""

    state: str
    states: dict[str, str]
    xcoms: dict[str, Any]
    tries: dict[str, int]
    max_tries: dict[str, int]
    run: Any

    def one(self) -> Any:
        """Return the only XCom."""
        (value,) = self.xcoms.values()
        return value


@cache
def boot() -> None:
    """Create the metadata database."""
    from airflow.utils.db import initdb

    initdb()


def dags_folder() -> Path:
    """Return the private DAG folder."""
    return Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def load(path: Path, *, register: bool = False) -> dict[str, Any]:
    """Parse a DAG file and return its DAGs.

    :param register: whether Airflow's database gets to know them, as from a scheduler.

    :raises AssertionError: when Airflow could not import it.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    bag = DagBag(str(path))
    assert not bag.import_errors, "\n".join(bag.import_errors.values())
    if register and hasattr(bag, "sync_to_db") and AIRFLOW_2:
        bag.sync_to_db()
    return dict(bag.dags)


def write(body: str, dag_id: str | None = None, **arguments: Any) -> tuple[str, Path]:
    """Write a DAG file whose DAG holds ``body``; return the DAG's id and the file."""
    dag_id = dag_id or f"dag_{next(_NUMBERS)}"
    path = dags_folder() / f"{dag_id}.py"
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    given = "".join(f", {name}={value!r}" for name, value in {"schedule": None, **arguments}.items())
    path.write_text(f"{HEAD}\nwith DAG({dag_id!r}, start_date=START{given}) as dag:\n{lines}\n")
    return dag_id, path


def run(
    body: str,
    *,
    date: datetime = DATE,
    conf: dict[str, Any] | None = None,
    register: bool = True,
    **arguments: Any,
) -> Run:
    """Run a DAG with these tasks."""
    dag_id, path = write(body, **arguments)
    return run_file(path, dag_id, date=date, conf=conf, register=register)


def run_file(
    path: Path, dag_id: str, *, date: datetime = DATE, conf: dict[str, Any] | None = None, register: bool = True
) -> Run:
    """Run a DAG of a file."""
    boot()
    dag = load(path, register=register)[dag_id]
    return _left(dag.test(run_conf=conf, **{"execution_date" if AIRFLOW_2 else "logical_date": date}))


def _left(dag_run: Any) -> Run:
    instances = dag_run.get_task_instances()
    names = {ti: ti.task_id + (f"[{ti.map_index}]" if ti.map_index >= 0 else "") for ti in instances}
    xcoms = {
        name: value
        for ti, name in names.items()
        if (value := ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)) is not None
    }
    return Run(
        str(getattr(dag_run.state, "value", dag_run.state)),
        {name: str(getattr(ti.state, "value", ti.state)) for ti, name in names.items()},
        xcoms,
        {name: ti.try_number for ti, name in names.items()},
        {name: ti.max_tries for ti, name in names.items()},
        dag_run,
    )


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def airflow_2_raises_timeouts() -> Iterator[None]:
    """Swallow what `dag.test()` of Airflow 2 lets out of a task that timed out; Airflow 3 fails the run instead."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "AirflowTaskTimeout" or not AIRFLOW_2:
            raise


@contextmanager
def without_lineage() -> Iterator[None]:
    """Let OpenLineage hear nothing: its listeners fork this large process twice a task."""
    told = [(hooks, one) for hooks in _hooks() for one in hooks.get_plugins() if "openlineage" in type(one).__module__]
    for hooks, one in told:
        hooks.unregister(one)
    try:
        yield
    finally:
        for hooks, one in told:
            hooks.register(one)


def _hooks() -> Iterator[Any]:
    """Yield what calls listeners: of the scheduler's side, and of the task's, where that is another."""
    for name in ("airflow.listeners.listener", "airflow.sdk.listener"):
        with suppress(ImportError):
            yield import_module(name).get_listener_manager().pm
