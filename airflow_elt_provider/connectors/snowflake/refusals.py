"""What is refused before anything moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from airflow_elt_provider.connectors.snowflake.catalog import Described
from airflow_elt_provider.connectors.snowflake.dialect import RETYPED, SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.types import TEXT, grows_in_place
from airflow_elt_provider.core.drift import DriftAction, DriftClass, SchemaChange
from airflow_elt_provider.core.evolve import Evolution
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.errors import ConfigurationError

NAME_LENGTH: Final = 255
_LONGEST_COLUMN: Final = NAME_LENGTH - len(RETYPED)


def refuse_names(dialect: SnowflakeDialect, load: Load) -> None:
    """Refuse names that Snowflake cannot hold, or cannot tell apart.

    :raises ConfigurationError: names them and the remedy.
    """
    schema, source = load.manifest.schema, load.manifest.source
    _refuse_long(schema.names, source, _LONGEST_COLUMN)
    _refuse_long(dialect.parts(load.target), f"target_table={str(load.target)!r}", NAME_LENGTH)
    _refuse_twins(dialect, schema, source)


def _refuse_long(names: Sequence[str], where: str, most: int) -> None:
    for name in names:
        if len(name) > most:
            raise ConfigurationError(
                f"{where}: the name {name!r} has {len(name)} characters, there is room for {most} in Snowflake.",
                hint="choose a shorter name (rename={...} for a column)",
            )


def _refuse_twins(dialect: SnowflakeDialect, schema: TableSchema, source: str) -> None:
    # COPY matches columns by names whatever their case, of other letters than ASCII's too.
    seen: dict[str, str] = {}
    for name in schema.names:
        folded = name if dialect.exact else name.upper()
        other = seen.setdefault(folded, name)
        if other != name:
            raise ConfigurationError(
                f"{source}: columns {other!r} and {name!r} have one name in Snowflake, {folded}.",
                hint=f"rename one of them: rename={{{name!r}: '...'}}, or set elt_identifiers to 'exact'",
            )


def refuse_masked(load: Load, evolution: Evolution, found: Described) -> None:
    """Refuse to copy a column that a masking policy hides into one that it does not.

    :raises ConfigurationError: names the column.
    """
    for change in _copies(evolution):
        if change.column in found.masked:
            raise ConfigurationError(
                f"{load.target}: column {change.column!r} changes from {change.before} to {_after(change)}, and a "
                "masking policy hides it, which a new column would not have.",
                hint=f"change it by hand, or leave it: on_schema_drift={{{change.drift.value!r}: 'freeze'}}",
            )
    for change in evolution.changes:
        moves = change.drift is DriftClass.RENAMED and change.done is DriftAction.EVOLVE
        if moves and change.before in found.masked:
            raise ConfigurationError(
                f"{load.target}: column {change.before!r} was renamed to {change.column!r}, and a masking policy hides "
                "it, which a new column would not have.",
                hint=f"keep its name: rename={{{change.column!r}: {change.before!r}}}, or add the new column with its "
                "policy by hand",
            )


def copied(evolution: Evolution) -> list[str]:
    """Return the columns that are copied into one of another type, and dropped."""
    return [change.column for change in _copies(evolution)]


def _copies(evolution: Evolution) -> list[SchemaChange]:
    typed = [each for each in evolution.changes if each.drift in {DriftClass.WIDENED, DriftClass.NARROWED}]
    evolving = (change for change in typed if change.done is DriftAction.EVOLVE)
    return [change for change in evolving if not grows_in_place(change.before, _after(change))]


def _after(change: SchemaChange) -> str:
    return change.after if change.drift is DriftClass.WIDENED else TEXT


def refuse_options(load: Load) -> None:
    """Refuse table options that make no SQL.

    :raises ConfigurationError: names the option.
    """
    options = load.merging.table_options
    days, cluster = options.get("data_retention_days"), options.get("cluster_by") or ()
    transient = options.get("transient") or False
    columns = [cluster] if isinstance(cluster, str) else cluster
    listed = isinstance(columns, list | tuple) and all(isinstance(name, str) for name in columns)
    for bad, name, what, hint in (
        (days is not None and not str(days).isdecimal(), "data_retention_days", "is no number of days", "give 0 to 90"),
        (not isinstance(transient, bool), "transient", "is not yes or no", "give True or False"),
        (not listed, "cluster_by", "does not name columns", "give a list, e.g. ['id']"),
    ):
        if bad:
            raise ConfigurationError(f"table_options of {load.target}: {name}={options[name]!r} {what}.", hint=hint)
