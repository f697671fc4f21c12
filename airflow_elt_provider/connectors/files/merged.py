"""Which versions of which files are merged: the state of a stream that reads new files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from airflow_elt_provider.core.protocols import StoredFile

pc: Any = pyarrow.compute  # its stubs know one kind of array
KEPT: Final = 1_000_000
"""So many files are remembered, and more only while they are there: of those that are gone the oldest are forgotten."""
_FIELDS: Final[dict[str, pa.DataType]] = {"uri": pa.string(), "version": pa.string(), "load": pa.int32()}
_SCHEMA: Final = pa.schema(_FIELDS)
_EPOCH: Final = b"elt-epoch"
_LOADS: Final = b"elt-loads"


def version_of(file: StoredFile) -> str:
    """Return what another content of a file changes, in one text."""
    return f"{file.version or file.modified.isoformat()}/{file.bytes}"


@dataclass(frozen=True)
class MergedFiles:
    """The files that are merged, in the order of the loads that merged them.

    A file that is gone from the store stays: should it come back as it was, it is not loaded again. Of a file that was
    replaced the last row counts.

    :param epoch: identity of what the numbers of loads count: another one after a load that began anew.
    :param loads: how many loads of the epoch found any file.
    """

    table: pa.Table
    epoch: str
    loads: int = 0

    @classmethod
    def none(cls) -> MergedFiles:
        """Begin anew."""
        return cls(_SCHEMA.empty_table(), uuid4().hex[:12])

    @classmethod
    def from_bytes(cls, data: bytes) -> MergedFiles:
        """Read what :meth:`to_bytes` wrote."""
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
        about = table.schema.metadata or {}
        return cls(table.replace_schema_metadata(None), about[_EPOCH].decode(), int(about[_LOADS]))

    def to_bytes(self) -> bytes:
        """Return a Parquet file: names that begin alike take next to no room."""
        about = {_EPOCH: self.epoch.encode(), _LOADS: str(self.loads).encode()}
        out = io.BytesIO()
        pq.write_table(
            self.table.replace_schema_metadata(about), out, compression="zstd", use_dictionary=False,
            column_encoding={"uri": "DELTA_BYTE_ARRAY", "version": "PLAIN", "load": "DELTA_BINARY_PACKED"},
        )  # fmt: skip
        return out.getvalue()

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.table.num_rows

    @cached_property
    def _versions(self) -> Mapping[str, str]:
        return dict(zip(_texts(self.table, "uri"), _texts(self.table, "version"), strict=True))

    def version(self, uri: str) -> str | None:
        """Return the version of a file that is merged; None for a file that is new."""
        return self._versions.get(uri)

    def until(self, loads: int) -> MergedFiles:
        """Return what was merged by then."""
        kept = self.table.filter(pc.less_equal(self.table.column("load"), loads))
        return replace(self, table=kept, loads=min(loads, self.loads))

    def between(self, after: int, until: int) -> Iterator[tuple[str, str]]:
        """Return name and version of the files that the loads behind one and up to another merged."""
        load = self.table.column("load")
        mine = self.table.filter(pc.and_(pc.greater(load, after), pc.less_equal(load, until)))
        return zip(_texts(mine, "uri"), _texts(mine, "version"), strict=True)

    def plus(self, files: Sequence[StoredFile], *, seen: Sequence[str], keep_replaced: bool) -> MergedFiles:
        """Return the state once a load is merged.

        :param seen: names of all files that are there now.
        :param keep_replaced: whether the versions that these files take the place of stay known, so that a run that
            repeats what it read finds that it cannot.
        """
        uris = pa.array([file.uri for file in files], pa.string())
        kept = self.table
        if not keep_replaced:
            kept = kept.filter(pc.invert(pc.is_in(kept.column("uri"), value_set=uris)))
        versions = pa.array([version_of(file) for file in files], pa.string())
        loads = pa.array([self.loads + 1] * len(files), pa.int32())
        new = pa.Table.from_arrays([uris, versions, loads], schema=_SCHEMA)
        whole = pa.concat_tables([kept, new])
        return MergedFiles(_bounded(whole, seen), self.epoch, self.loads + 1)


def _texts(table: pa.Table, name: str) -> list[Any]:
    return table.column(name).to_pylist()


def _bounded(table: pa.Table, seen: Sequence[str]) -> pa.Table:
    """Forget the oldest of the files that are gone, where there are too many."""
    over = table.num_rows - KEPT
    if over <= 0:
        return table
    gone = pc.invert(pc.is_in(table.column("uri"), value_set=pa.array(seen, pa.string())))
    ranks = pc.cumulative_sum(pc.cast(gone, pa.int64()))
    return table.filter(pc.invert(pc.and_(gone, pc.less_equal(ranks, over))))
