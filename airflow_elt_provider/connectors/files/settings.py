"""Where files are, and how to get at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from airflow_elt_provider.core.protocols import Stage, StoredFile

SCHEMES: Final[Mapping[str, str]] = {"aws": "s3", "google_cloud_platform": "gs", "fs": "file"}
"""Connection type -> scheme of the files that it leads to."""


@runtime_checkable
class FileStore(Protocol):
    """A folder that files are read from; nothing is written to it."""

    @property
    def root(self) -> str:
        """The folder's URI."""

    @property
    def scheme(self) -> str:
        """``file``, ``s3`` or ``gs``."""

    def workspace(self) -> AbstractContextManager[Path]:
        """A local folder for copies; one of a ``file`` store lies in the folder itself, and is never asked for."""

    def find(self, prefix: str, *, deep: bool) -> Iterator[StoredFile]:
        """List the files whose name below the root begins with ``prefix``, page by page.

        :param deep: whether those are wanted, too, that have a slash behind the prefix.
        """

    def fetch_version(self, file: StoredFile, to: Path) -> Path:
        """Copy a file as it was listed to ``to``, or return the path of the file itself.

        :raises FileNotFoundError: when it is gone, or is another by now.
        """


@dataclass(frozen=True)
class FilesSettings:
    """A connection to a store of files.

    :param conn_id: for messages.
    :param scheme: of the files that it leads to: ``s3``, ``gs`` or ``file``.
    :param open_folder: lends a folder, given as a URI or an absolute path, to be listed and read; nothing is written.
        A stage will do where it is a :class:`FileStore`, too.
    """

    conn_id: str
    scheme: str
    open_folder: Callable[[str], Stage | FileStore]
