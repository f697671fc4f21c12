"""A file with the rows of a table, whatever its format."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.formats.csv import CsvFile
from airflow_elt_provider.formats.jsonl import JsonLines
from airflow_elt_provider.formats.parquet_table import ParquetTable


class TableFile(Protocol):
    """A file to read."""

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns.

        :raises DataError: when it has none, or none that can be meant.
        """

    def types(self) -> Mapping[str, pa.DataType]:
        """Return the types that the file itself gives its columns; of a column that is not in it, text is meant."""

    def batches(
        self,
        columns: Sequence[tuple[str, pa.DataType]],
        schema: pa.Schema,
        quarantine: Quarantine | None = None,
        key: Collection[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Give the rows, in bounded memory.

        :param columns: names in the file, and types that are wanted.
        :param schema: of the batches, in the same order.
        :param quarantine: where rows go that cannot be read.
        :param key: names in the file of columns without which a row is set aside as well.
        :raises DataError: for a row or a value that cannot be read and may not be set aside; names file and place.
        """


def table_file(path: Path, name: str, file_format: FileFormat, hidden: Collection[str] = ()) -> TableFile:
    """Return a file to read.

    :param name: what errors call it, and what tells the format where ``file_format`` leaves it open.
    :param hidden: columns whose values no error may show.
    :raises ConfigurationError: when nothing says what it is, or for a Parquet file in an archive.
    """
    form = file_format.of(name)
    if form.type == "parquet":
        if form.compression != "none":
            raise ConfigurationError(
                f"{name}: a Parquet file in {form.compression} cannot be read in place.",
                hint="unpack it: Parquet compresses its columns by itself",
            )
        return ParquetTable(path, name, hidden)
    return (JsonLines if form.type == "jsonl" else CsvFile)(path, name, hidden, form)
