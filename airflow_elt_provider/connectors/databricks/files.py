"""Where COPY INTO finds the files of a load."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.protocols import Stage
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats.parquet import fetched

MOST: Final = 1000
"""Files that one COPY INTO may name."""
_GLOB: Final = re.compile(r"[*?\[\]{}\\]")
_VOLUMES: Final = "/Volumes/"


@dataclass(frozen=True)
class Batch:
    """Files in one folder.

    :param folder: as the warehouse names it.
    """

    folder: str
    names: tuple[str, ...]


def batches(uris: Sequence[str]) -> list[Batch]:
    """Return the files as COPY INTO takes them: by folder, so many at a time.

    :raises ConfigurationError: for a folder that the warehouse would read as a pattern.
    """
    folders: dict[str, list[str]] = {}
    for uri in uris:
        folder, _, name = _path(uri).rpartition("/")
        folders.setdefault(folder, []).append(name)
    for folder in folders:
        if _GLOB.search(folder):
            raise ConfigurationError(
                f"Databricks would read the stage's folder {folder} as a pattern.",
                hint="choose a stage without *?[]{} and backslashes in its name",
            )
    return [
        Batch(folder, tuple(names[at : at + MOST]))
        for folder, names in folders.items()
        for at in range(0, len(names), MOST)
    ]


def readable(uri: str) -> bool:
    """Whether the warehouse can read a file where it is."""
    return not uri.startswith("file://") or _path(uri).startswith(_VOLUMES)


def _path(uri: str) -> str:
    return unquote(urlsplit(uri).path) if uri.startswith("file://") else uri


def has_times(load: Load) -> bool:
    """Whether the files have times of day, a type of Parquet that Spark refuses to read."""
    return any(pa.types.is_time(column.type) for column in load.manifest.schema.columns)


@contextmanager
def plain_copy(stage: Stage, file: StagedFile) -> Iterator[Path]:
    """Lend a copy of a file in which times of day are text, as the target will hold them."""
    with fetched(stage, file) as original, stage.workspace() as folder:
        copy = folder / f"plain-{original.name}"
        try:
            _rewrite(original, copy)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{file.uri} is no Parquet file: {error}.", hint="clear the load from its extract task on"
            ) from error
        yield copy


def _rewrite(original: Path, copy: Path) -> None:
    with pq.ParquetFile(original) as source:
        schema = pa.schema(
            [pa.field(each.name, pa.string()) if pa.types.is_time(each.type) else each for each in source.schema_arrow]
        )
        with pq.ParquetWriter(copy, schema, compression="zstd") as writer:
            for batch in source.iter_batches():
                columns = [_text(column) if pa.types.is_time(column.type) else column for column in batch.columns]
                writer.write_batch(pa.record_batch(columns, schema=schema))


def _text(times: Any) -> Any:
    """Return times as PostgreSQL writes them: without zeros at the end of a fraction."""
    whole = pc.replace_substring_regex(times.cast(pa.string()), r"(\.[0-9]*?)0+$", r"\1")
    return pc.replace_substring_regex(whole, r"\.$", "")
