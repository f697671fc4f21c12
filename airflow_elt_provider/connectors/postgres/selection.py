"""Which columns of a relation are read, under which names and as which types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from airflow_elt_provider.connectors.postgres.catalog import Relation, SourceColumn
from airflow_elt_provider.connectors.postgres.names import meant, quoted
from airflow_elt_provider.connectors.postgres.types import arrow_type, projection
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class SelectedColumn:
    """A column that is read.

    :param column: as it travels, named as in the target.
    :param override: the type that ``column_types`` asks for, where the source's own is another.
    """

    source: SourceColumn
    column: Column
    override: pa.DataType | None = None

    @property
    def expression(self) -> str:
        """What COPY writes."""
        return projection(self.source.type, quoted(self.source.name), self.override)

    @property
    def own_type(self) -> pa.DataType:
        """The Arrow type of the source's own type."""
        return arrow_type(self.source.type)[0]


@dataclass(frozen=True)
class Selection:
    """The columns that are read, and the key among them."""

    columns: tuple[SelectedColumn, ...]
    schema: TableSchema
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names at the source."""
        return tuple(column.source.name for column in self.columns)

    @property
    def expressions(self) -> str:
        """The list after SELECT."""
        return ", ".join(column.expression for column in self.columns)

    def target_name(self, name: str) -> str:
        """Return the name in the target of a source column; "" where it is not read."""
        return next((column.column.name for column in self.columns if column.source.name == name), "")


def select_columns(relation: Relation, extraction: Extraction) -> Selection:
    """Choose columns and key as the extraction says.

    :raises ConfigurationError: for a name that the source does not have, no column at all, or two columns with one
        name in the target.
    """
    known = [column.name for column in relation.columns]
    _refuse_unknown(extraction, known)
    wanted = known if extraction.columns is None else extraction.columns
    columns = tuple(
        _selected(column, extraction)
        for name in wanted
        if name not in extraction.exclude_columns and (column := relation.column(name))
    )
    if not columns:
        raise ConfigurationError(f"{extraction.source} has no column to read.", hint="name some with columns=[...]")
    _refuse_twins(columns, extraction)
    key, enforced, notes = _key(relation, extraction, {column.source.name for column in columns})
    names = tuple(extraction.target_name(name) for name in key)
    return Selection(columns, TableSchema(tuple(column.column for column in columns), names, enforced), notes)


def _selected(source: SourceColumn, extraction: Extraction) -> SelectedColumn:
    own, format_ = arrow_type(source.type)
    name, wanted = extraction.target_name(source.name), extraction.column_types.get(source.name)
    override = parse_type(wanted) if wanted is not None else own
    if override.equals(own) and (wanted is None or format_ == ""):
        return SelectedColumn(source, Column(name, own, source.nullable, format_, source.type.declared))
    return SelectedColumn(source, Column(name, override, source.nullable), override)


def _refuse_unknown(extraction: Extraction, known: list[str]) -> None:
    asked: list[tuple[str, Iterable[str]]] = [
        ("columns", extraction.columns or ()), ("exclude_columns", extraction.exclude_columns),
        ("hash_columns", extraction.hash_columns), ("redact_columns", extraction.redact_columns),
        ("rename", extraction.rename), ("column_types", extraction.column_types),
        ("primary_key", extraction.primary_key or ()),
    ]  # fmt: skip
    for parameter, names in asked:
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"{parameter} names column {name!r}, which {extraction.source} does not have.",
                    hint=meant(name, known),
                )


def _refuse_twins(columns: tuple[SelectedColumn, ...], extraction: Extraction) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        name = column.column.name
        if name in seen:
            raise ConfigurationError(
                f"{extraction.source}: columns {seen[name]!r} and {column.source.name!r} would both be named {name!r}.",
                hint="rename one of them, or leave one out with exclude_columns",
            )
        seen[name] = column.source.name


def _key(relation: Relation, extraction: Extraction, read: set[str]) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    if extraction.primary_key is not None:
        left_out = sorted(set(extraction.primary_key) - read)
        if left_out:
            raise ConfigurationError(
                f"{extraction.source}: column {left_out[0]!r} of primary_key is not among the columns that are read.",
                hint="take it out of exclude_columns, or add it to columns",
            )
        guarded = any(set(key) <= set(extraction.primary_key) for key in relation.keys)
        return extraction.primary_key, guarded and not relation.inherited, ()
    for key in relation.keys:
        if set(key) <= read:
            return key, not relation.inherited, ()
    if relation.keys:
        names = ", ".join(relation.keys[0])
        return (), False, (f"the source's key ({names}) is not among the columns that are read",)
    return (), False, ()
