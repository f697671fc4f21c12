"""What holds for every folder of small files, wherever it is."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.stages.uri import StageUri, safe_path

_Client = TypeVar("_Client")

MOST_BYTES: Final = 50_000_000
"""Size of the largest file that is read: what a person writes is far smaller."""
AT_ONCE: Final = 8
"""Objects that are read at once; clients keep 10 connections."""


def shown(path: str) -> bool:
    """Whether a file is one of the folder's: neither it nor a folder above it is hidden, and none has no name."""
    return all(part and not part.startswith(".") for part in path.split("/"))


def too_large(uri: str, size: int) -> ConfigurationError:
    """Return the error for a file that nobody wrote by hand."""
    return ConfigurationError(
        f"{uri} has {size:,} bytes; a file of this folder may have {MOST_BYTES:,}.",
        hint="move it elsewhere, or let its name begin with a dot: hidden files are not read",
    )


def read_at_once(paths: Iterable[str], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """Return the files of these paths, in their order, many being read at once; what is gone by now is left out."""

    def found(path: str) -> tuple[str, bytes | None]:
        try:
            return path, read(path)
        except FileNotFoundError:
            return path, None

    with ThreadPoolExecutor(AT_ONCE, "elt-folder") as pool:
        try:
            return {path: content for path, content in pool.map(found, paths) if content is not None}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class BucketFolder(ABC, Generic[_Client]):
    """Keeps small objects below a prefix of a bucket.

    :param client_factory: makes the store's client on first use.
    """

    def __init__(self, client_factory: Callable[[], _Client], place: StageUri) -> None:
        self._bucket_name, self._prefix = place.bucket, f"{place.path}/" if place.path else ""
        self._uri = str(place)
        self._factory = client_factory
        self._made: _Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    @property
    def uri(self) -> str:
        """URI of the prefix."""
        return self._uri

    def read(self) -> Mapping[str, bytes]:
        """Return all files by path, in order; hidden ones are left out. {}: there is none.

        :raises ConfigurationError: for a file that is too large.
        """
        return read_at_once(list(self._listed()), self._get)

    def read_one(self, path: str) -> bytes | None:
        """Return one file; None for none."""
        try:
            return self._get(safe_path(path))
        except FileNotFoundError:
            return None

    @property
    def _client(self) -> _Client:
        with self._lock:
            if self._made is None:
                self._made = self._factory()
            return self._made

    @abstractmethod
    def _listed(self) -> Iterator[str]:
        """Yield the paths of the folder's files."""

    @abstractmethod
    def _get(self, path: str) -> bytes:
        """Return a file. :raises FileNotFoundError: for none."""
