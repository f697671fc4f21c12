"""Where configuration files are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Folder(Protocol):
    """A folder of small files, on a disk or in a bucket. Files are replaced whole: a reader sees the old or the new."""

    @property
    def uri(self) -> str:
        """Where it is."""

    def read(self) -> Mapping[str, bytes]:
        """Return all files by path, with ``/`` on every system; hidden files and folders are left out. Missing: {}."""

    def read_one(self, path: str) -> bytes | None:
        """Return one file; None for none."""

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file."""

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that are empty then; one that is gone is as good."""
