"""Which columns of a source's relation are read, under which names, and which of them are the key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from airflow_elt_provider.core.meant import meant
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.errors import ConfigurationError


class Named(Protocol):
    """A column as it is at the source."""

    @property
    def name(self) -> str:
        """Its name there."""


S = TypeVar("S", bound=Named)


@dataclass(frozen=True)
class Selected(Generic[S]):
    """A column that is read.

    :param column: as it travels, named as in the target.
    :param override: the type that ``column_types`` asks for, where the source's own is another.
    """

    source: S
    column: Column
    override: pa.DataType | None = None

    @property
    def expression(self) -> str:
        """What stands for the column after SELECT."""
        raise NotImplementedError


C = TypeVar("C", bound=Selected)  # type: ignore[type-arg]


@dataclass(frozen=True)
class SelectionOf(Generic[C]):
    """The columns that are read, and the key among them."""

    columns: tuple[C, ...]
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

    @property
    def source_key(self) -> tuple[str, ...]:
        """The key's names at the source."""
        names = {column.column.name: column.source.name for column in self.columns}
        return tuple(names[name] for name in self.schema.primary_key)

    def target_name(self, name: str) -> str:
        """Return the name in the target of a source column; "" where it is not read."""
        return next((column.column.name for column in self.columns if column.source.name == name), "")


def select(
    known: Mapping[str, S],
    keys: Sequence[tuple[str, ...]],
    extraction: Extraction,
    selected: Callable[[S], C],
    *,
    enforced: bool,
) -> SelectionOf[C]:
    """Choose columns and key as the extraction says.

    :param known: the relation's columns by name, in order.
    :param keys: column sets that are unique and not NULL, the primary key first.
    :param selected: makes of a source's column what is read.
    :param enforced: whether those keys hold for all rows of the relation.
    :raises ConfigurationError: for a name that the source does not have, no column at all, or two columns with one
        name in the target.
    """
    refuse_unknown(extraction, list(known), extraction.source)
    wanted = known if extraction.columns is None else extraction.columns
    columns = tuple(selected(known[name]) for name in wanted if name not in extraction.exclude_columns)
    if not columns:
        raise ConfigurationError(f"{extraction.source} has no column to read.", hint="name some with columns=[...]")
    refuse_twins([column.source.name for column in columns], extraction)
    key, guarded, notes = _key(keys, extraction, {column.source.name for column in columns})
    names = tuple(extraction.target_name(name) for name in key)
    schema = TableSchema(tuple(column.column for column in columns), names, guarded and enforced)
    return SelectionOf(columns, schema, notes)


def overridden(name: str, own: pa.DataType, format_: str, extraction: Extraction) -> pa.DataType | None:
    """Return the type that ``column_types`` asks for; None where the source's own will do.

    :param format_: see :class:`airflow_elt_provider.core.schema.Column`.
    """
    wanted = extraction.column_types.get(name)
    override = parse_type(wanted) if wanted is not None else own
    same = override.equals(own) and (wanted is None or format_ == "")
    return None if same else override


def refuse_unknown(
    extraction: Extraction, known: Sequence[str], where: str, remedy: Callable[[str, Sequence[str]], str] = meant
) -> None:
    """Refuse a parameter that names a column which is not there.

    :param where: what has the known columns, for errors.
    :param remedy: says, given a name and the known ones, what may have been meant.
    """
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
                    f"{parameter} names column {name!r}, which {where} does not have.",
                    hint=remedy(name, known),
                )


def refuse_twins(names: Sequence[str], extraction: Extraction) -> None:
    """Refuse two columns that would have one name in the target."""
    seen: dict[str, str] = {}
    for name in names:
        target = extraction.target_name(name)
        if target in seen:
            raise ConfigurationError(
                f"{extraction.source}: columns {seen[target]!r} and {name!r} would both be named {target!r}.",
                hint="rename one of them, or leave one out with exclude_columns",
            )
        seen[target] = name


def _key(
    keys: Sequence[tuple[str, ...]], extraction: Extraction, read: set[str]
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Return the key, whether the source guards it, and notes."""
    if extraction.primary_key is not None:
        left_out = sorted(set(extraction.primary_key) - read)
        if left_out:
            raise ConfigurationError(
                f"{extraction.source}: column {left_out[0]!r} of primary_key is not among the columns that are read.",
                hint="take it out of exclude_columns, or add it to columns",
            )
        return extraction.primary_key, any(set(key) <= set(extraction.primary_key) for key in keys), ()
    for key in keys:
        if set(key) <= read:
            return key, True, ()
    if keys:
        return (), False, (f"the source's key ({', '.join(keys[0])}) is not among the columns that are read",)
    return (), False, ()
