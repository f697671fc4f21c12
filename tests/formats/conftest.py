"""A file of a format, written and read back."""

from __future__ import annotations

import pytest

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.formats.table_file import table_file


class Reader:
    """Reads a file, every column as `types` says, or as the file does, or as text."""

    def __init__(self, folder):
        self.folder = folder
        self.quarantine = None

    def __call__(self, data, name="a.csv", /, *, types=None, hidden=(), limit=0, key=(), wanted=None, **form):
        """Return the rows as tuples; with a limit so many may be set aside, into `quarantine`."""
        path = self.folder / name
        if data is not None:
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        file = table_file(path, f"file:///{name}", FileFormat.parse(form or None), hidden)
        own, asked = file.types(), types or {}
        columns = [
            (column, parse_type(asked[column]) if column in asked else own.get(column, parse_type("text")))
            for column in wanted or file.header()
        ]
        schema = TableSchema(tuple(Column(*column) for column in columns)).wire_schema()
        self.quarantine = Quarantine(name, limit) if limit else None
        batches = list(file.batches(columns, schema, self.quarantine, key))
        assert all(batch.schema == schema for batch in batches)
        for batch in batches:
            batch.validate(full=True)
        return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]

    def refused(self):
        """Return what was set aside: place, column, reason, values or text."""
        return [
            (row.place.partition(", ")[2], row.column, row.reason, dict(row.values) or row.text)
            for row in self.quarantine.take()
        ]


@pytest.fixture
def read(tmp_path):
    """Lend a reader of files in an empty folder."""
    return Reader(tmp_path)
