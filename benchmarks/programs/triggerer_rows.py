"""A DAG run with many deferred task instances, written by Airflow's own models."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from benchmarks.programs.remote_place import CONN_ID


def main() -> None:
    """Write one probe, and one trigger for each line of JSON on the standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("probe", help="file of the probe")
    parser.add_argument("over", help="file that ends those that sleep")
    asked = parser.parse_args()
    from benchmarks.programs.triggerer_probe import ProbeTrigger, SleepingTrigger

    lines = [json.loads(line) for line in sys.stdin]
    if asked.kind == "nothing":
        triggers: list[Any] = [SleepingTrigger(asked.over, number) for number, _ in enumerate(lines)]
    else:
        from airflow_elt_provider.triggers.remote import RemoteSyncTrigger

        triggers = [RemoteSyncTrigger(CONN_ID, watch, poll_interval=5.0, owner="try") for watch in lines]
    write([ProbeTrigger(asked.probe), *triggers])


def write(triggers: list[Any]) -> None:
    """Write the DAG, its run, and a deferred task instance for each trigger."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with DAG("benchmark", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        EmptyOperator(task_id="wait")
    lazy, now = LazyDeserializedDAG.from_dag(dag), datetime.now(UTC)
    with create_session() as session:
        session.add(DagBundleModel(name="benchmark"))
        session.flush()
        SerializedDAG.bulk_write_to_db("benchmark", None, [lazy], session=session)
        SerializedDagModel.write_dag(lazy, bundle_name="benchmark", session=session)
        session.flush()
        known = SerializedDagModel.get("benchmark", session=session)
        assert known
        run = known.dag.create_dagrun(
            run_id="once", logical_date=now, data_interval=(now, now), run_after=now, run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST, state=DagRunState.RUNNING, session=session,
        )  # fmt: skip
        session.flush()
        task = known.dag.get_task("wait")
        rows = [Trigger.from_object(trigger) for trigger in triggers]
        session.add_all(rows)
        session.flush()
        for number, row in enumerate(rows):
            ti = TaskInstance(
                task=task, run_id=run.run_id, dag_version_id=known.dag_version_id, map_index=number,
                state=TaskInstanceState.DEFERRED,
            )  # fmt: skip
            ti.trigger_id, ti.try_number = row.id, 1
            session.add(ti)


if __name__ == "__main__":
    main()
