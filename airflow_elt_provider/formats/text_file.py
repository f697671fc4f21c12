"""A file of text: unpacked, in UTF-8, and refused where it is something else."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Final

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.blocks import BlockStream, file_blocks
from airflow_elt_provider.formats.charset import utf_8
from airflow_elt_provider.formats.foreign import HEAD_BYTES, refuse_foreign

PIECE_BYTES: Final = 64 << 10
"""What is passed on at once."""


def text_blocks(path: Path, form: FileFormat, *, marked: bool = False) -> Generator[bytes]:
    """Give the text as :func:`~airflow_elt_provider.formats.charset.utf_8` does.

    Raises what :func:`~airflow_elt_provider.formats.blocks.file_blocks` does.
    """
    return utf_8(file_blocks(path, form.compression), form.charset, marked=marked)


def as_text(blocks: Generator[bytes], *, errors: str, newline: str) -> io.TextIOWrapper:
    """Return blocks of UTF-8 as a file that is open; ``errors`` and ``newline`` are those of :func:`open`."""
    raw = io.BufferedReader(BlockStream(blocks), PIECE_BYTES)
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, newline=newline)


def refuse_no_text(path: Path, name: str, form: FileFormat) -> None:
    """Refuse a file whose first bytes are no text with rows. :raises DataError: says what it is."""
    with closing(file_blocks(path, form.compression)) as found:
        head = next(found, b"")[:HEAD_BYTES]
    refuse_foreign(name, head, marked=b"\0" in "a".encode(form.charset, "replace"))


def unreadable(name: str, error: Exception) -> DataError:
    """Return the error for a file that breaks off, or is not packed as it should be."""
    return DataError(f"{name} cannot be read: {error}.", hint="see whether it was written to its end")
