"""Many tables at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_elt_provider._compat import TaskGroup
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators.discover import DiscoverTablesOperator, SyncDiscoveredTableOperator


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
    """Sync the tables of a schema: one task finds them at run time, a mapped task each moves them.

    :param group_id: id of the task group.
    :param include: names, or patterns with ``*`` and ``?``, of the tables to take.
    :param exclude: of the tables to leave out.
    :param target_table: the target's name with ``{prefix}``, ``{schema}`` and ``{table}`` in it.
    :param overrides: table name or pattern -> parameters of its own, e.g. ``{"payment": {"capture": "cursor",
        "cursor_column": "last_update"}}``.
    :param max_active_tables: how many tables of a DAG run are synced at once; default: what Airflow allows.
    :param task_group: further arguments of Airflow's ``TaskGroup``.
    :param parameters: of every table: those of ``SyncTableOperator``, and Airflow's own (``retries``, ``pool`` ...).
    :returns: the task group.
    :raises ConfigurationError: for a parameter that makes no sense for many tables.
    """
    for name in ("source_table", "query", "stream"):
        if name in parameters:
            raise ConfigurationError(f"sync_tables has no {name}.", hint="use overrides, or a SyncTableOperator")
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
            **airflows,
        )
        SyncDiscoveredTableOperator.partial(
            task_id="sync",
            source_conn_id=source_conn_id,
            destination_conn_id=destination_conn_id,
            overrides=dict(overrides or {}),
            map_index_template="{{ task.source_table }}",
            max_active_tis_per_dagrun=max_active_tables,
            **parameters,
        ).expand_kwargs(found.output)
    return group


_OF_BOTH_TASKS = ("executor", "owner", "pool", "queue", "retries", "retry_delay")
