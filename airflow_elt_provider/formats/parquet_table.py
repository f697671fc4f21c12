"""Parquet files that somebody else wrote."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_elt_provider.core.quarantine import Quarantine
from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats.charset import shown
from airflow_elt_provider.formats.fields import Field
from airflow_elt_provider.formats.parquet_values import own_type, reader
from airflow_elt_provider.formats.sieve import Sieve

BATCH_BYTES: Final = 4 << 20
_MOST_ROWS: Final = 1 << 16
_BUFFER: Final = 1 << 20
_HEAD: Final = 4
_INT96: Final = "INT96"
_THOUSAND: Final = 1000
_WRAP: Final = 1 << 64


@dataclass(frozen=True)
class ParquetTable:
    """A file to read.

    Columns have the file's own types, in ours: lists, structs and maps are JSON. A value that none of ours holds
    (digits of a second after the sixth, text that is not UTF-8) cannot be read, and is never rounded.
    :class:`~airflow_elt_provider.formats.table_file.TableFile` says what the methods promise.

    :param name: what errors call it.
    :param hidden: columns whose values no error may show.
    """

    path: Path
    name: str
    hidden: Collection[str] = ()

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns.

        :raises DataError: when it is no Parquet file that can be read, or two of its columns have one name.
        """
        names = tuple(self._schema.names)
        twice = sorted({name for name in names if names.count(name) > 1})
        for bad, what, hint in (
            (not names, "it has no columns", "see what wrote it"),
            ("" in names, "a column of it has no name", "name every column"),
            (bool(twice), f"it names {', '.join(map(repr, twice))} twice", "give columns different names"),
        ):
            if bad:
                raise DataError(f"{self.name}: {what}.", hint=hint)
        return names

    def types(self) -> Mapping[str, pa.DataType]:
        """Return the file's own types, in ours; text for those that we have none for."""
        return {name: self._own(name) or pa.string() for name in self.header()}

    def batches(
        self,
        columns: Sequence[tuple[str, pa.DataType]],
        schema: pa.Schema,
        quarantine: Quarantine | None = None,
        key: Collection[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Give the rows, some of a row group at once.

        :raises ConfigurationError: for a column of a type that we do not have.
        """
        self.header()
        sieve = Sieve(self.name, [self._field(*column) for column in columns], schema, quarantine, key, self.hidden)
        names = [name for name, _ in columns]
        done = 0
        with self._errors(), closing(self._read(names)) as batches:
            for batch in batches:
                arrays = [batch.column(batch.schema.names.index(name)) for name in names]
                raw = pa.RecordBatch.from_arrays(arrays, names)
                yield sieve.sift(raw, lambda at: f"row {done + at + 1}")  # noqa: B023
                done += batch.num_rows

    # --- inside ---

    def _read(self, names: Sequence[str]) -> Any:
        """Give batches; a timestamp in nanoseconds of old only where microseconds hold it."""
        old = [name for name in names if name in self._old]
        with self._open(coerce_int96_timestamp_unit="us") as file:
            rows = self._rows(file.metadata)
            found = file.iter_batches(batch_size=rows, columns=list(names), use_threads=False)
            if not old:
                yield from found
                return
            with self._open() as exact:
                fine = exact.iter_batches(batch_size=rows, columns=old, use_threads=False)
                for batch, same in zip(found, fine, strict=True):
                    yield _unrounded(batch, same, old)

    def _field(self, name: str, wanted: pa.DataType) -> Field:
        own, kind = self._own(name), self._schema.field(name).type
        if name in self._old and not _reads_old_timestamps():
            raise ConfigurationError(
                f"{self.name}: column {name!r} has timestamps in the old way (INT96), which pyarrow {pa.__version__} "
                "does not read right.",
                hint="take a newer pyarrow, write the column as TIMESTAMP, or leave it out with exclude_columns",
            )
        if own is None:
            raise ConfigurationError(
                f"{self.name}: column {name!r} is a {kind}, which is not read.",
                hint=f"leave it out: exclude_columns=[{name!r}]",
            )
        return Field(name, wanted, reader(own, wanted), _shown)

    def _own(self, name: str) -> pa.DataType | None:
        if any(path.startswith(f"{name}.") for path in self._old):
            return None  # a list of timestamps in the old way would be rounded
        at = self._schema.names.index(name)
        return own_type(self._schema.field(at).type, self._logical.get(name, ""))

    @cached_property
    def _about(self) -> tuple[pa.Schema, dict[str, str], frozenset[str]]:
        """The schema, what Parquet says besides of columns, and timestamps in the old way."""
        with self._errors():
            self._refuse_other()
            with self._open(coerce_int96_timestamp_unit="us") as file:
                leaves = [file.schema.column(at) for at in range(len(file.schema))]
                logical = {leaf.path: json.loads(leaf.logical_type.to_json()).get("Type", "") for leaf in leaves}
                old = frozenset(leaf.path for leaf in leaves if leaf.physical_type == _INT96)
                return file.schema_arrow, logical, old

    @property
    def _schema(self) -> pa.Schema:
        return self._about[0]

    @property
    def _logical(self) -> dict[str, str]:
        return self._about[1]

    @property
    def _old(self) -> frozenset[str]:
        return self._about[2]

    def _open(self, **more: Any) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True, **more)

    @staticmethod
    def _rows(about: Any) -> int:
        size = sum(int(about.row_group(at).total_byte_size) for at in range(about.num_row_groups))
        return max(1, min(_MOST_ROWS, BATCH_BYTES * max(int(about.num_rows), 1) // max(size, 1)))

    def _refuse_other(self) -> None:
        with self.path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(max(0, self.path.stat().st_size - _HEAD))
            tail = file.read(_HEAD)
        if b"PARE" in (head, tail):
            raise DataError(f"{self.name} is encrypted.", hint="write it without encryption")
        if head != b"PAR1" or tail != b"PAR1":
            what = "is no Parquet file" if head != b"PAR1" else "is a Parquet file without its end"
            raise DataError(f"{self.name} {what}.", hint="see whether it was written to its end")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's, not the file's
                raise
            encrypted = "crypt" in str(error).lower()
            what = "has encrypted columns" if encrypted else f"cannot be read: {error}"
            hint = "write it without encryption" if encrypted else "see whether it was written to its end"
            raise DataError(f"{self.name} {what}.", hint=hint) from error


def _unrounded(batch: pa.RecordBatch, fine: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Give timestamps that microseconds do not hold as text, with all of their digits: it is none that can be read.

    Far dates are more nanoseconds than 64 bits hold; the last three digits are right all the same.
    """
    for name in names:
        at = batch.schema.names.index(name)
        coarse, exact = batch.column(at), fine.column(fine.schema.names.index(name))
        pairs = zip(coarse.cast(pa.int64()).to_pylist(), exact.cast(pa.int64()).to_pylist(), strict=True)
        rests = [0 if one is None or two is None else (two - one * _THOUSAND) % _WRAP for one, two in pairs]
        if any(rests):
            texts = zip(coarse.cast(pa.string()).to_pylist(), rests, strict=True)
            column = pa.array([text and f"{text}{rest:03}" if rest else text for text, rest in texts], pa.string())
            batch = batch.set_column(at, name, column)
    return batch


@cache
def _reads_old_timestamps() -> bool:
    """Whether this Arrow reads timestamps in the old way as they are; some put 1969 into the year 2554."""
    before = pa.table({"at": pa.array([-1], pa.timestamp("us"))})
    file = io.BytesIO()
    pq.write_table(before, file, use_deprecated_int96_timestamps=True)
    return bool(pq.read_table(file, coerce_int96_timestamp_unit="us")["at"].equals(before["at"]))


def _shown(value: pa.Scalar[Any]) -> str | None:
    if not value.is_valid:
        return None
    kind = value.type
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return str(value.cast(pa.string()))
    try:
        plain = value.as_py()
    except ValueError:  # nanoseconds somewhere in it, or text that is none
        return shown(value.cast(pa.binary()).as_py()) if pa.types.is_string(kind) else str(value)
    return shown(plain) if isinstance(plain, bytes) else str(plain)
