"""Columns and keys of a table, in Arrow's types."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import pyarrow as pa

from airflow_elt_provider.core.system_columns import EXACT, OP, VALID_FROM
from airflow_elt_provider.core.types import parse_type, type_name, wire_type


@dataclass(frozen=True)
class Column:
    """One column as it travels.

    :param type: an Arrow type; text for what Arrow has no type for, with ``format`` saying what the text is.
    :param format: grammar of the text of a value without an Arrow type: ``decimal``, ``array``, ``interval``, ``text``.
        ``""`` for values that the Arrow type says all about.
    :param source_type: the declaration at the source, e.g. ``numeric(12,2)``; a destination of the same family may
        use it. Empty where the type was overridden by ``column_types``.
    """

    name: str
    type: pa.DataType
    nullable: bool = True
    format: str = ""
    source_type: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return {**asdict(self), "type": type_name(self.type)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Column:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**value, "type": parse_type(value["type"])})


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table, or of a load.

    :param primary_key: names of the key's columns in order, or empty.
    :param key_enforced: whether the source itself guarantees that the key is unique and not NULL.
    """

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    key_enforced: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of that name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def with_key(self, key: tuple[str, ...], *, enforced: bool) -> TableSchema:
        """Return the same columns with another key."""
        return replace(self, primary_key=key, key_enforced=enforced)

    def wire_schema(self, extra: tuple[Column, ...] = ()) -> pa.Schema:
        """Return the schema of the staged files, which may have some of :data:`EXTRA_COLUMNS` besides."""
        return pa.schema([pa.field(column.name, wire_type(column.type)) for column in (*self.columns, *extra)])

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        columns = [column.to_json() for column in self.columns]
        return {"columns": columns, "primary_key": list(self.primary_key), "key_enforced": self.key_enforced}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TableSchema:
        """Read what :meth:`to_json` wrote."""
        columns = tuple(Column.from_json(column) for column in value["columns"])
        return cls(columns, tuple(value["primary_key"]), value["key_enforced"])


VERSION_START: Final = Column(VALID_FROM, pa.timestamp("us", "UTC"))
EXTRA_COLUMNS: Final = (Column(EXACT, pa.string()), Column(OP, pa.string()), VERSION_START)
"""What staged files may hold besides the table's columns, in this order."""
