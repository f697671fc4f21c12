"""Many tables at once, and one table in many parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_elt_provider._compat import TaskGroup
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._mapping import own_names
from airflow_elt_provider.operators._reads import ReadsSource
from airflow_elt_provider.operators._task import UsesStage
from airflow_elt_provider.operators._writes import MergesRows
from airflow_elt_provider.operators.discover import DiscoverTablesOperator, SyncDiscoveredTableOperator
from airflow_elt_provider.operators.extract import ExtractOperator
from airflow_elt_provider.operators.merge import MergeOperator
from airflow_elt_provider.operators.partitions import PlanPartitionsOperator
from airflow_elt_provider.operators.stage import StageOperator
from airflow_elt_provider.operators.summary import SyncSummaryOperator


def sync_tables(
    *,
    group_id: str,
    source_conn_id: str,
    source_schema: str,
    destination_conn_id: str,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    target_table: str = "{prefix}{schema}.{table}",
    prefix: str = "",
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    max_active_tables: int | None = None,
    task_group: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> TaskGroup:
    """Sync the tables of a schema: one task finds them at run time, a mapped task each moves them, one sums up.

    A table that fails stops no other. The last task, ``summary``, runs once all are done, says which failed and why,
    and fails if any did.

    :param group_id: id of the task group.
    :param include: names, or patterns with ``*`` and ``?``, of the tables to take.
    :param exclude: of the tables to leave out.
    :param target_table: the target's name with ``{prefix}``, ``{schema}`` and ``{table}`` in it.
    :param overrides: table name or pattern, with or without the schema -> parameters of its own, e.g.
        ``{"payment": {"capture": "cursor", "cursor_column": "last_update"}}``. A name of no table is refused.
    :param max_active_tables: how many tables of a DAG run are synced at once; default: what Airflow allows.
    :param task_group: further arguments of Airflow's ``TaskGroup``.
    :param parameters: of every table: those of ``SyncTableOperator``, and Airflow's own (``retries``, ``pool`` ...).
    :returns: the task group.
    :raises ConfigurationError: for a parameter that makes no sense for many tables.
    """
    for name in ("source_table", "query", "stream"):
        if name in parameters:
            raise ConfigurationError(f"sync_tables has no {name}.", hint="use overrides, or a SyncTableOperator")
    _refuse_shapeless(overrides or {})
    _refuse_none_active("max_active_tables", max_active_tables)
    with TaskGroup(group_id=group_id, **(task_group or {})) as group:
        airflows = {name: parameters[name] for name in _OF_BOTH_TASKS if name in parameters}
        found = DiscoverTablesOperator(
            task_id="tables",
            source_conn_id=source_conn_id,
            source_schema=source_schema,
            include=include,
            exclude=exclude,
            target_table=target_table,
            prefix=prefix,
            overrides=overrides,
            **airflows,
        )
        synced = SyncDiscoveredTableOperator.partial(
            task_id="sync",
            source_conn_id=source_conn_id,
            destination_conn_id=destination_conn_id,
            overrides=dict(overrides or {}),
            map_index_template="{{ task.source_table }}",
            max_active_tis_per_dagrun=max_active_tables,
            **parameters,
        ).expand_kwargs(found.output)
        summary = SyncSummaryOperator(
            task_id="summary", tables_task_id=found.task_id, sync_task_id=synced.task_id, **airflows
        )
        [found, synced] >> summary
    return group


def sync_partitioned_table(
    *,
    group_id: str,
    source_conn_id: str,
    source_table: str,
    destination_conn_id: str,
    target_table: str,
    partitions: int,
    max_active_partitions: int | None = None,
    task_group: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> TaskGroup:
    """Sync a table that is too large for one task: several read and stage a range of its keys each, one merges.

    Only the first load and a full refresh are divided; what changed since is read by one task. Each range has a
    snapshot of its own: the result says ``"consistent": false``, and the next run brings what moved meanwhile.

    :param group_id: id of the task group.
    :param partitions: how many tasks read the table.
    :param max_active_partitions: how many of them do so at once; default: what Airflow allows.
    :param task_group: further arguments of Airflow's ``TaskGroup``.
    :param parameters: those of ``SyncTableOperator`` (``capture`` is ``fingerprint``, and need not be said), and
        Airflow's own, which all tasks get (``retries``, ``pool`` ...).
    :returns: the task group.
    :raises ConfigurationError: for a parameter that makes no sense for partitions.
    """
    for name in ("query", "path", "interval", "cursor_column"):
        if name in parameters:
            raise ConfigurationError(f"sync_partitioned_table has no {name}.", hint="use a SyncTableOperator")
    _refuse_none_active("max_active_partitions", max_active_partitions)
    given = {"capture": "fingerprint", **parameters}
    given |= {"source_table": str(source_table), "target_table": str(target_table)}
    given |= {"source_conn_id": source_conn_id, "destination_conn_id": destination_conn_id}
    at_once = {"max_active_tis_per_dagrun": max_active_partitions}
    reading, staging = _of(given, ReadsSource, UsesStage), _of(given, UsesStage)
    with TaskGroup(group_id=group_id, **(task_group or {})) as group:
        plan = PlanPartitionsOperator(
            task_id="plan", partitions=partitions, destination_conn_id=destination_conn_id, **reading,
            **{name: given[name] for name in ("max_quarantined_rows",) if name in given},
        )  # fmt: skip
        extracted = ExtractOperator.partial(
            task_id="extract", map_index_template="{{ task.partition_name }}", **reading, **at_once
        ).expand_kwargs(plan.output)
        options = {name: given[name] for name in ("table_options",) if name in given}
        staged = StageOperator.partial(
            task_id="stage", destination_conn_id=destination_conn_id, target_table=target_table, **options, **staging,
            **at_once,
        ).expand(manifest=extracted.output)  # fmt: skip
        merging = _of(given, MergesRows, UsesStage)
        of_merge = {name: given[name] for name in ("mode", "deletes") if name in given}
        MergeOperator(task_id="merge", staged=staged.output, target_table=target_table, **merging, **of_merge)
    return group


_OF_BOTH_TASKS = ("executor", "owner", "pool", "queue", "retries", "retry_delay")
_OURS = frozenset(name for cls in (ReadsSource, MergesRows, UsesStage) for name in own_names(cls))


def _of(given: Mapping[str, Any], *operators: type) -> dict[str, Any]:
    """Return those of the parameters that operators of these kinds have, and what is Airflow's."""
    wanted = {name for cls in operators for name in own_names(cls)}
    return {name: value for name, value in given.items() if name in wanted or name not in _OURS}


def _refuse_shapeless(overrides: Mapping[str, Any]) -> None:
    for name, own in overrides.items():
        if not isinstance(own, Mapping):
            raise ConfigurationError(
                f"overrides of {name} are {own!r}.", hint="write {'table': {'capture': 'cursor', ...}, ...}"
            )


def _refuse_none_active(name: str, most: int | None) -> None:
    if most is not None and most < 1:
        raise ConfigurationError(
            f"{name}={most}: nothing would ever run.", hint="give 1 or more, or leave it out for what Airflow allows"
        )
