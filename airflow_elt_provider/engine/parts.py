"""Streams of Arrow batches become Parquet files on a stage."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_elt_provider.core.protocols import ChangeSet, Stage
from airflow_elt_provider.core.schema import EXTRA_COLUMNS, TableSchema
from airflow_elt_provider.core.staged_file import Role, StagedFile
from airflow_elt_provider.engine.progress import Progress

if TYPE_CHECKING:
    from typing_extensions import Buffer

PART_BYTES: Final = 128 << 20
"""A part is closed once it is this large: Snowflake and BigQuery load files of 100-250 MB best (Snowflake, "Preparing
your data files")."""
ROW_GROUP_BYTES: Final = 16 << 20
"""Arrow bytes that are gathered into one row group; bounds the writer's memory."""


class _HashingFile(io.RawIOBase):
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self.size += len(view)
        done = 0
        while done < len(view):
            done += self._file.write(view[done:]) or 0
        return done

    def close(self) -> None:
        self._file.close()
        super().close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class PartWriter:
    """Writes one stream of batches as a series of parts and puts each on the stage as soon as it is full.

    Row groups are written in a thread of their own: meanwhile the next one is read, and the source does not wait.
    """

    def __init__(
        self, stage: Stage, folder: str, workspace: Path, numbers: Iterator[int], progress: Progress,
        role: Role = Role.UPSERT,
    ) -> None:  # fmt: skip
        self._stage, self._folder, self._workspace = stage, folder, workspace
        self._numbers, self._progress, self._role = numbers, progress, role
        self._file: _HashingFile | None = None
        self._parquet: pq.ParquetWriter | None = None
        self._schema = pa.schema([])
        self._rows = 0
        self.files: list[StagedFile] = []

    def drain(self, batches: Iterator[pa.RecordBatch]) -> list[StagedFile]:
        """Write everything and return the files. All rows of a file have the same columns."""
        with ThreadPoolExecutor(1, "elt-write") as pool:
            written: Future[None] | None = None
            for group in self._row_groups(batches):
                if written:
                    written.result()
                written = pool.submit(self._write, group)
                del group  # one in the making, one being written, no third
            if written:
                written.result()
        self._finish_part()
        return self.files

    def _row_groups(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
        """Gather batches of one schema."""
        waiting: list[pa.RecordBatch] = []
        size = 0
        for batch in batches:
            if waiting and not batch.schema.equals(waiting[0].schema):
                yield pa.Table.from_batches(waiting)
                waiting, size = [], 0
            waiting.append(batch)
            size += batch.nbytes
            self._progress.add(batch.num_rows, batch.nbytes)
            if size >= ROW_GROUP_BYTES:
                yield pa.Table.from_batches(waiting)
                waiting, size = [], 0
        if waiting:
            yield pa.Table.from_batches(waiting)

    def _write(self, group: pa.Table) -> None:
        if self._parquet and not group.schema.equals(self._schema):
            self._finish_part()
        if self._parquet is None:
            self._path = self._workspace / f"part-{next(self._numbers):05d}.parquet"
            self._file, self._schema = _HashingFile(self._path), group.schema
            # Dictionaries cost more time than zstd saves them space on rows fresh from a database: 4.0 s against
            # 2.1 s for 2 million rows. Statistics cost a fifth of the rest, and whoever loads a file reads all of it.
            self._parquet = pq.ParquetWriter(
                cast("IO[bytes]", self._file), group.schema, compression="zstd", compression_level=1,
                use_dictionary=False, write_statistics=False,
            )  # fmt: skip
        self._parquet.write_table(group, row_group_size=max(1, group.num_rows))
        self._rows += group.num_rows
        if self._file and self._file.size >= PART_BYTES:
            self._finish_part()

    def _finish_part(self) -> None:
        if self._parquet is None or self._file is None:
            return
        extra = tuple(column.name for column in EXTRA_COLUMNS if column.name in self._schema.names)
        self._parquet.close()
        self._file.close()
        uri = self._stage.put(self._path, f"{self._folder}/{self._path.name}")
        self.files.append(StagedFile(uri, self._file.sha256, self._rows, self._file.size, self._role, extra))
        self._parquet, self._file, self._rows = None, None, 0


def write_changes(
    stage: Stage, folder: str, changes: ChangeSet, progress: Progress, on_error: Callable[[], None]
) -> tuple[StagedFile, ...]:
    """Write all that a source has to give, and return the files.

    :param on_error: called when one of several streams fails, so that the others stop too.
    """
    parts = Parts(stage, folder, progress, on_error)
    files = parts.write(changes.streams)
    for role, streams in ((Role.DELETE, changes.deletes), (Role.KEYSET, changes.keys)):
        for stream in streams:
            files += parts.write([_padded(stream, changes.schema)], role)
    return files


@dataclass
class Parts:
    """The parts of one attempt; their numbers go on from one call to the next."""

    stage: Stage
    folder: str
    progress: Progress
    on_error: Callable[[], None]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def write(self, streams: Sequence[Iterator[pa.RecordBatch]], role: Role = Role.UPSERT) -> tuple[StagedFile, ...]:
        """Write streams at once, a thread each, and return the files that hold their rows."""
        with ExitStack() as stack:
            workspace = stack.enter_context(self.stage.workspace())
            writers = [
                PartWriter(self.stage, self.folder, workspace, self.numbers, self.progress, role) for _ in streams
            ]
            pool = stack.enter_context(ThreadPoolExecutor(max(1, len(streams)), "elt-part"))
            futures = [pool.submit(writer.drain, stream) for writer, stream in zip(writers, streams, strict=True)]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((future for future in done if future.exception()), None)
            if failed:
                self.on_error()
                failed.result()
            return tuple(file for future in futures for file in future.result())


def _padded(batches: Iterator[pa.RecordBatch], schema: TableSchema) -> Iterator[pa.RecordBatch]:
    """Give batches of keys the other columns, so that all files of a load have them."""
    for batch in batches:
        extra = tuple(column for column in EXTRA_COLUMNS if column.name in batch.schema.names)
        wanted = schema.wire_schema(extra)
        arrays = [
            batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, wanted.field(name).type)
            for name in wanted.names
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=wanted)
