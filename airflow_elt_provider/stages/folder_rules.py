"""What holds for every folder of small files, wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from airflow_elt_provider.errors import ConfigurationError

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
