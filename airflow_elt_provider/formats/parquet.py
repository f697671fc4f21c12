"""Staged Parquet files as a destination reads them: the very bytes that the manifest speaks of, or not at all."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_elt_provider.core.manifest import Manifest
from airflow_elt_provider.core.protocols import Stage
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.errors import DataError

_AGAIN: Final = "somebody changed the stage: clear the load from its extract task on"


def verify_listed(stage: Stage, manifest: Manifest) -> None:
    """See that all files are on the stage, in their size, without reading them.

    :raises FileNotFoundError: when one is gone.
    :raises DataError: when one has another size.
    """
    root = stage.root.rstrip("/") + "/"
    folders = {file.uri.removeprefix(root).rpartition("/")[0] for file in manifest.files}
    sizes = {stored.uri: stored.bytes for folder in folders for stored in stage.list(folder)}
    for file in manifest.files:
        if file.uri not in sizes:
            raise FileNotFoundError(errno.ENOENT, "gone from the stage", file.uri)
        if sizes[file.uri] != file.bytes:
            raise DataError(f"{file.uri} has {sizes[file.uri]:,} bytes, the manifest says {file.bytes:,}.", hint=_AGAIN)


@contextmanager
def fetched(stage: Stage, file: StagedFile) -> Iterator[Path]:
    """Lend a local file that is byte for byte the one of the manifest.

    :raises FileNotFoundError: when it is gone.
    :raises DataError: when it is another.
    """
    with stage.fetch(file.uri) as path:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != file.sha256:
            raise DataError(f"{file.uri} is not the file that was extracted: its sha256 differs.", hint=_AGAIN)
        yield path


@contextmanager
def all_fetched(stage: Stage, manifest: Manifest) -> Iterator[Sequence[Path]]:
    """Lend all files of a load at once; see :func:`fetched`."""
    with ExitStack() as stack:
        yield [stack.enter_context(fetched(stage, file)) for file in manifest.files]


def read_batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Read a file in batches of at most so many rows; a row group at a time is in memory."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size=rows)
