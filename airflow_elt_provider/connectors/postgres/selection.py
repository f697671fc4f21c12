"""Which columns of a relation are read, under which names and as which types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from airflow_elt_provider.connectors.postgres.catalog import Relation, SourceColumn
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.types import arrow_type, projection
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.selection import Selected, SelectionOf, overridden, select


@dataclass(frozen=True)
class SelectedColumn(Selected[SourceColumn]):
    """A column that is read."""

    @property
    def expression(self) -> str:
        """What COPY writes."""
        return projection(self.source.type, quoted(self.source.name), self.override)

    @property
    def own_type(self) -> pa.DataType:
        """The Arrow type of the source's own type."""
        return arrow_type(self.source.type)[0]


Selection: TypeAlias = SelectionOf[SelectedColumn]


def select_columns(relation: Relation, extraction: Extraction) -> Selection:
    """Choose columns and key as the extraction says; see :func:`~airflow_elt_provider.core.selection.select`."""

    def selected(source: SourceColumn) -> SelectedColumn:
        own, format_ = arrow_type(source.type)
        name, override = extraction.target_name(source.name), overridden(source.name, own, format_, extraction)
        if override is None:
            return SelectedColumn(source, Column(name, own, source.nullable, format_, source.type.declared))
        return SelectedColumn(source, Column(name, override, source.nullable), override)

    known = {column.name: column for column in relation.columns}
    return select(known, relation.keys, extraction, selected, enforced=not relation.inherited)
