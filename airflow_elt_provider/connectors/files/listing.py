"""The files that a path means at one moment, and copies of them as they were then."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from airflow_elt_provider.connectors.files.pattern import FilePattern
from airflow_elt_provider.connectors.files.settings import FileStore
from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.layout import WORK_PREFIX
from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_UNFINISHED: Final = (
    ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".inprogress", ".incomplete",
    ".writing", ".swp", "._copying_", "~",
)  # fmt: skip
"""How the names of files end that somebody is about to rename."""
_FOLDERS: Final = frozenset({"_temporary", "__magic", "_delta_log", "_spark_metadata"})
_MARKERS: Final = re.compile(r"_SUCCESS(\..*)?|_(started|committed)_[0-9]+|.*_\$folder\$", re.DOTALL)
_AT_ONCE: Final = 8


@dataclass
class Listing:
    """The files that a pattern means, as a store lists them.

    :param left_alone: files that match and are not read, by why: filled while the listing is read.
    """

    store: FileStore
    pattern: FilePattern
    left_alone: dict[str, int] = field(default_factory=dict)

    def files(self) -> Iterator[StoredFile]:
        """List them; those that are ours or not finished yet are left out."""
        for file in self.store.find(self.pattern.prefix, deep=self.pattern.deep):
            path = self._path(file.uri)
            if not self.pattern.matches(path) or _ours(path):
                continue
            if self._is_unfinished(path):
                self.leave("being written, or markers, by their names")
                continue
            yield file

    def leave(self, why: str) -> None:
        """Count a file that is not read."""
        self.left_alone[why] = self.left_alone.get(why, 0) + 1

    def notes(self) -> list[str]:
        """Return sentences about what is left alone."""
        return [f"{count} files left alone: {why}" for why, count in self.left_alone.items()]

    def refuse_unknown(self, file: StoredFile, file_format: FileFormat) -> None:
        """Refuse a file of a format that nothing tells.

        :raises ConfigurationError: names it.
        """
        try:
            file_format.of(file.uri)
        except ConfigurationError as error:
            folder = self.pattern.text.rpartition("/")[0]
            raise ConfigurationError(
                f"{file.uri} matches path={self.pattern.text!r}, and its name does not say what it is.",
                hint=f"narrow the path, e.g. {folder}/*.csv, or {error.hint}",
            ) from error

    def _path(self, uri: str) -> str:
        path = uri.removeprefix(f"{self.store.root.rstrip('/')}/")
        return os.fsdecode(unquote_to_bytes(path)) if self.store.scheme == "file" else path

    def _is_unfinished(self, path: str) -> bool:
        *folders, name = path.split("/")
        asked = self.pattern.text.lower()
        end = next((end for end in _UNFINISHED if name.lower().endswith(end)), "")
        if end and not asked.endswith(end):  # who types such an end means it
            return True
        marker = _MARKERS.fullmatch(name) and not self.pattern.text.endswith(f"/{name}")
        return bool(marker or _FOLDERS & {*folders})


def _ours(path: str) -> bool:
    return any(part.startswith(WORK_PREFIX) for part in path.split("/"))


def changed(uri: str) -> TransientError:
    """Return the error for a file that did not stay as it was listed."""
    return TransientError(
        f"{uri} changed while it was read.",
        hint="retry once it is written: whoever writes files should put them there whole, under their final name",
    )


@dataclass(frozen=True)
class LocalCopy:
    """A file at hand: a copy on this worker's disk, or the file itself where it lies in a folder.

    :param state: what the disk said of it when it was lent.
    :param lent: whether it is the file itself.
    """

    file: StoredFile
    path: Path
    state: tuple[int, int, int, int]
    lent: bool

    @classmethod
    def of(cls, store: FileStore, file: StoredFile, to: Path) -> LocalCopy:
        """Fetch a file.

        :raises TransientError: when it is gone, or is not as it was listed.
        """
        try:
            path = store.fetch_version(file, to)
            return cls(file, path, _state(path), path != to)
        except FileNotFoundError as error:
            raise changed(file.uri) from error

    def refuse_change(self) -> None:
        """Refuse a file that was written to while it was read. :raises TransientError: names it."""
        try:
            same = _state(self.path) == self.state
        except FileNotFoundError:
            same = False
        if not same:
            raise changed(self.file.uri)

    def done(self) -> None:
        """Make room: nobody reads it any more."""
        if not self.lent:
            self.path.unlink(missing_ok=True)


@contextmanager
def fetched(store: FileStore, files: Sequence[StoredFile], go_on: Callable[[str], None]) -> Iterator[list[LocalCopy]]:
    """Lend copies of files, each as it was listed, in the same order; some are fetched at once.

    :param go_on: called with a file's URI before it is fetched; raises to stop.
    """
    with ExitStack() as stack:
        folder = Path() if store.scheme == "file" or not files else stack.enter_context(store.workspace())
        pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE, "elt-fetch"))

        def fetch(at: int) -> LocalCopy:
            go_on(files[at].uri)
            return LocalCopy.of(store, files[at], folder / f"{at:08}")

        waiting = [pool.submit(fetch, at) for at in range(len(files))]
        stack.callback(lambda: [future.cancel() for future in waiting])
        yield [future.result() for future in waiting]


def _state(path: Path) -> tuple[int, int, int, int]:
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
