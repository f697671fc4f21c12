"""Which DDL lets the target hold a load, under its drift policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from airflow_elt_provider.core.dialect import Dialect, Fit, Sql
from airflow_elt_provider.core.drift import DriftAction, DriftClass, SchemaChange
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.schema import VERSION_START, Column, TableSchema
from airflow_elt_provider.core.system_columns import (
    DELETED_AT,
    IS_CURRENT,
    LOAD_ID,
    PREFIX,
    RESERVED,
    VALID_FROM,
    VALID_TO,
)
from airflow_elt_provider.errors import ConfigurationError, SchemaDriftError

Change: TypeAlias = tuple[SchemaChange, tuple[Sql, ...]]
"""What was found, and the DDL that follows it."""


@dataclass(frozen=True)
class TargetTable:
    """The target as it is.

    :param columns: column -> type, spelled as the catalog spells it.
    :param key: columns of its primary key, in order; empty where there is none, or the system keeps none.
    """

    columns: Mapping[str, str]
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evolution:
    """What has to be done to the target, and what was found."""

    ddl: tuple[Sql, ...]
    changes: tuple[SchemaChange, ...]


def evolve(dialect: Dialect, load: Load, target: TargetTable | None) -> Evolution:
    """Hold a load's schema against its target.

    :raises SchemaDriftError: for a change whose policy is ``fail``.
    :raises ConfigurationError: for a merge without a key, or a source column with one of our own names.
    """
    schema = load.manifest.schema
    refuse_unusable(load.manifest.schema, load.mode, load.manifest.source)
    if target is None:
        _refuse_half(load)
        columns = [(column.name, dialect.column_type(column)) for column in schema.columns] + own_columns(dialect, load)
        key = target_key(load)
        options = load.merging.table_options
        return Evolution((dialect.create_table(load.target, columns, key, options),), ())
    _refuse_other_kind(load, target)
    found = [*_key_change(load, target), *_column_changes(dialect, load, target)]
    for change, _ in found:
        if change.done is DriftAction.FAIL:
            raise SchemaDriftError(
                f"{load.target}: {change.drift.value} {change.column!r}, target {change.before or 'has none'}, "
                f"source {change.after or 'has none'}, and on_schema_drift is 'fail' for {change.drift.value!r}.",
                hint=f"change the target by hand, or allow it: on_schema_drift={{{change.drift.value!r}: 'evolve'}}",
            )
    ddl = [sql for change, statements in found if change.done is DriftAction.EVOLVE for sql in statements]
    ddl += [dialect.add_column(load.target, *own) for own in own_columns(dialect, load) if own[0] not in target.columns]
    return Evolution(tuple(ddl), tuple(change for change, _ in found))


def _refuse_half(load: Load) -> None:
    manifest = load.manifest
    if manifest.base_position and manifest.base_version and not manifest.complete:
        raise ConfigurationError(
            f"{load.target} does not exist, and stream {manifest.stream} goes on from a checkpoint: the rows loaded "
            "before would be missing.",
            hint="run once with full_refresh=True, or give the new target a stream of its own",
        )


def _refuse_unknown_name(load: Load, name: str, before: str) -> None:
    """Refuse to add a renamed column without the values that it had.

    :raises ConfigurationError: names both.
    """
    if not load.manifest.complete:
        raise ConfigurationError(
            f"{load.target}: the source renamed column {before!r} to {name!r}, and the target has neither: rows loaded "
            "before would have no value there.",
            hint=f"run once with full_refresh=True, or say which column it is: rename={{{name!r}: '...'}}",
        )


def refuse_unusable(schema: TableSchema, mode: WriteMode, source: str) -> None:
    """Refuse a merge without a key, and a column with one of our own names.

    :raises ConfigurationError: names the source and the setting.
    """
    taken = sorted(name for name in schema.names if name.lower().startswith(PREFIX))
    if taken:
        raise ConfigurationError(
            f"{source} has a column {taken[0]!r}, a name that belongs to this package.",
            hint=f"rename it: rename={{{taken[0]!r}: '...'}}",
        )
    if mode.needs_key and not schema.primary_key:
        raise ConfigurationError(
            f"{source} has no primary key, and mode={mode.value!r} needs one.",
            hint="name the columns that identify a row: primary_key=['id'], or use mode='append' or 'replace'",
        )


def target_key(load: Load) -> tuple[str, ...]:
    """Return what tells a target's rows apart: the source's key; the versions of a row by when they begin, too."""
    return _with_versions(load, load.manifest.schema.primary_key)


def _with_versions(load: Load, key: tuple[str, ...]) -> tuple[str, ...]:
    if load.mode is WriteMode.HISTORY:
        return (*key, VALID_FROM) if key else ()
    return key if load.mode is not WriteMode.APPEND else ()


def _refuse_other_kind(load: Load, target: TargetTable) -> None:
    """Refuse to keep a history among rows that have none, and to load past one.

    :raises ConfigurationError: names the target.
    """
    has, wants = VALID_FROM in target.columns, load.mode is WriteMode.HISTORY
    if has != wants:
        what = f"has a history (column {VALID_FROM!r})" if has else f"has no history (no column {VALID_FROM!r})"
        raise ConfigurationError(
            f"{load.target} {what}, and mode={load.mode.value!r} {'keeps one' if wants else 'keeps none'}.",
            hint="give the other mode a target_table and a stream of its own",
        )


def own_columns(dialect: Dialect, load: Load) -> list[tuple[str, str]]:
    """Return names and types of the columns that we add to a target."""
    if load.mode is WriteMode.HISTORY:
        moment = dialect.column_type(VERSION_START)
        current = dialect.column_type(Column(IS_CURRENT, pa.bool_()))
        return [(VALID_FROM, moment), (VALID_TO, moment), (IS_CURRENT, current)]
    own = [(LOAD_ID, dialect.text_type)] if load.mode is WriteMode.APPEND else []
    if load.deletes is DeleteMode.SOFT:
        own.append((DELETED_AT, dialect.timestamp_type))
    return own


def _key_change(load: Load, target: TargetTable) -> Iterator[Change]:
    key = target_key(load)
    former = target.key or _with_versions(load, load.manifest.former_key)  # not every system keeps a key
    if key and former and set(key) != set(former):
        action = load.merging.drift.action(DriftClass.KEY)
        # A changed key is never altered in the target: rows are matched by the load's key, the constraint stays.
        yield SchemaChange(DriftClass.KEY, ", ".join(key), ", ".join(former), ", ".join(key), action), ()


def _refuse_key_as_text(load: Load, name: str, current: str, arriving: str) -> None:
    """Refuse to turn a key into text, in which ``1`` and ``1.00`` are two keys."""
    if load.mode.needs_key and name in load.manifest.schema.primary_key:
        raise SchemaDriftError(
            f"{load.target}: key {name!r} is {current} in the target, and {arriving} arrives: as text, which holds "
            "both, one key could be written in two ways.",
            hint=f"change the target's column by hand, or keep its type: column_types={{{name!r}: '...'}}",
        )


def _column_changes(dialect: Dialect, load: Load, target: TargetTable) -> Iterator[Change]:
    for column in load.manifest.schema.columns:
        current = target.columns.get(column.name)
        found = _new(dialect, load, target, column) if current is None else _retyped(dialect, load, column, current)
        if found:
            yield found
    # Columns that a user gave the target are no news; those that the last load still had are.
    base, arriving = load.manifest.base_position, load.manifest.schema.names
    gone = set(target.columns) - set(arriving) - RESERVED - set(load.manifest.renamed.values())
    for name in sorted(gone & set(base.columns) if base else gone):
        action = load.merging.drift.action(DriftClass.REMOVED)
        yield SchemaChange(DriftClass.REMOVED, name, target.columns[name], "", action), ()


def _new(dialect: Dialect, load: Load, target: TargetTable, column: Column) -> Change:
    """A column that the target has not: renamed, or added."""
    name, type_ = column.name, dialect.column_type(column)
    before = load.manifest.renamed.get(name, "")
    ddl = (dialect.add_column(load.target, name, type_),)
    if before in target.columns:
        return SchemaChange(DriftClass.RENAMED, name, before, name, load.merging.drift.action(DriftClass.RENAMED)), ddl
    action = load.merging.drift.action(DriftClass.ADDED)
    if before and action is DriftAction.EVOLVE:
        _refuse_unknown_name(load, name, before)
    return SchemaChange(DriftClass.ADDED, name, "", type_, action), ddl


def _retyped(dialect: Dialect, load: Load, column: Column, current: str) -> Change | None:
    """A column that arrives with another type."""
    name, type_ = column.name, dialect.column_type(column)
    fit = dialect.fit(current, type_)
    if fit not in {Fit.WIDENS, Fit.CONFLICTS}:
        return None
    drift, wanted = (DriftClass.WIDENED, type_) if fit is Fit.WIDENS else (DriftClass.NARROWED, dialect.text_type)
    action = load.merging.drift.action(drift)
    change = SchemaChange(drift, name, current, type_, action)
    if action is not DriftAction.EVOLVE:
        return change, ()
    if wanted != type_:
        _refuse_key_as_text(load, name, current, type_)
    return change, dialect.alter_type(load.target, name, current, wanted)
