"""What BigQuery knows of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.cloud import bigquery

from airflow_elt_provider.connectors.bigquery.dialect import NEW, OLD, BigQueryDialect
from airflow_elt_provider.connectors.bigquery.failures import MissingError, translate
from airflow_elt_provider.connectors.bigquery.jobs import BigQueryJobs
from airflow_elt_provider.connectors.bigquery.types import spelled
from airflow_elt_provider.core.evolve import TargetTable
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class Target:
    """A target as it is.

    :param fixed: columns that it is partitioned or clustered by.
    :param leftovers: columns that a change of type left behind when it did not come to its end, and their types.
    :param filtered: name and type of the column by whose partitions every statement has to choose, if any.
    """

    table: TargetTable
    fixed: tuple[str, ...] = ()
    leftovers: Mapping[str, str] = field(default_factory=dict)
    filtered: tuple[str, str] | None = None


def describe(jobs: BigQueryJobs, dialect: BigQueryDialect, target: TableRef, schema: TableSchema) -> Target | None:
    """Return a target with its columns spelled as the schema spells them; None while there is none.

    :raises ConfigurationError: when it is a view, or the like.
    """
    found = jobs.table(f"Looking at {target}", dialect.parts(target))
    if found is None:
        return None
    if found.table_type != "TABLE":
        raise ConfigurationError(
            f"{target} is no table: it is a {found.table_type.lower().replace('_', ' ')}.",
            hint="choose another target_table",
        )
    known = {name.casefold(): name for name in schema.names}
    types = {known.get(each.name.casefold(), each.name): _type(each) for each in found.schema}
    leftovers = {name: type_ for name, type_ in types.items() if name.startswith((NEW, OLD))}
    columns = {name: type_ for name, type_ in types.items() if name not in leftovers}
    key = tuple(known.get(name.casefold(), name) for name in _key(found))
    return Target(TargetTable(columns, key), _fixed(found), leftovers, _filtered(found))


def _type(column: bigquery.SchemaField) -> str:
    return spelled(column.field_type, column.mode or "", column.precision, column.scale, column.max_length)


def _key(table: bigquery.Table) -> tuple[str, ...]:
    constraints = table.table_constraints
    return tuple(constraints.primary_key.columns) if constraints and constraints.primary_key else ()


def _fixed(table: bigquery.Table) -> tuple[str, ...]:
    partitioning = table.time_partitioning or table.range_partitioning
    column = partitioning.field if partitioning else None
    return tuple(name for name in (column, *(table.clustering_fields or ())) if name)


def _filtered(table: bigquery.Table) -> tuple[str, str] | None:
    if not table.require_partition_filter:
        return None
    partitioning = table.time_partitioning or table.range_partitioning
    name = partitioning.field if partitioning else None
    if not name:
        return "_PARTITIONTIME", "TIMESTAMP"
    return next((each.name, _type(each)) for each in table.schema if each.name.casefold() == name.casefold())


def location_of(jobs: BigQueryJobs, project: str, dataset: str) -> str | None:
    """Return where a dataset is, None while there is none."""
    try:
        with translate(f"Looking at dataset {project}.{dataset}"):
            return str(jobs.client.get_dataset(f"{project}.{dataset}").location or "")
    except MissingError:
        return None
