"""What a plan asks of sources and destinations, beside what a load does."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from airflow_elt_provider.core.evolve import Evolution
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.plan import Extraction


@runtime_checkable
class PreviewingDestination(Protocol):
    """A destination that can say what :meth:`Destination.prepare` would do."""

    def preview(self, load: Load) -> Evolution:
        """Return the DDL that a load needs, and what it would change, doing nothing.

        :raises SchemaDriftError: as ``prepare`` would.
        """


class Measured(NamedTuple):
    """How much there would be to read.

    :param exact: whether the rows were counted; else the server's statistics say so.
    :param bytes: of the rows as text, from a sample; None where there is no row.
    """

    rows: int
    exact: bool
    bytes: int | None = None


@runtime_checkable
class MeasurableSource(Protocol):
    """A source that can say how much it would have to read."""

    def measure(self, extraction: Extraction, predicate: str) -> Measured:
        """Count rows.

        :param predicate: which rows, in the source's SQL: the fact ``rows`` of the source's own changes.
        """
