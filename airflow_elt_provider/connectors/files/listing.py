"""The files that are read by one load, and whether they stay as they were listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from airflow_elt_provider.connectors.files.pattern import SUFFIXES, FilePattern
from airflow_elt_provider.core.layout import WORK_PREFIX
from airflow_elt_provider.core.protocols import Stage, StoredFile
from airflow_elt_provider.errors import ConfigurationError, TransientError


@dataclass(frozen=True)
class Listing:
    """Files as they were at one moment, by URI."""

    stage: Stage
    pattern: FilePattern
    files: tuple[StoredFile, ...]

    @classmethod
    def of(cls, stage: Stage, pattern: FilePattern) -> Self:
        """List the files that a pattern means.

        :raises ConfigurationError: when there are none, or one is of a kind that this version does not read.
        """
        files = tuple(sorted(_meant(stage, pattern), key=lambda file: file.uri))
        if not files:
            raise ConfigurationError(
                f"No file matches path={pattern.text!r}.",
                hint="correct it, or wait for the files with a sensor; names are exact, capitals included, and * does "
                "not cross a slash",
            )
        for file in files:
            if not file.uri.lower().endswith(SUFFIXES):
                raise ConfigurationError(
                    f"{file.uri} matches path={pattern.text!r}, and this version reads {' and '.join(SUFFIXES)}.",
                    hint=f"narrow the path, e.g. {pattern.text.rpartition('/')[0]}/*.csv",
                )
        return cls(stage, pattern, files)

    def refuse_change(self) -> None:
        """Look again, and refuse files that are not as they were listed.

        :raises TransientError: names a file that changed or is gone.
        """
        now = {file.uri: file for file in _meant(self.stage, self.pattern)}
        for file in self.files:
            if now.get(file.uri) != file:
                raise changed(file.uri)


def _meant(stage: Stage, pattern: FilePattern) -> Iterator[StoredFile]:
    for file in stage.list():
        if pattern.matches(file.uri, stage.root) and not _ours(file.uri.removeprefix(stage.root)):
            yield file


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
    """

    file: StoredFile
    path: Path
    state: tuple[int, int, int]

    @classmethod
    @contextmanager
    def lend(cls, stage: Stage, file: StoredFile) -> Iterator[LocalCopy]:
        """Fetch a file.

        :raises TransientError: when it is gone.
        """
        with ExitStack() as stack:
            try:
                path = stack.enter_context(stage.fetch(file.uri))
                state = _state(path)
            except FileNotFoundError as error:
                raise changed(file.uri) from error
            yield cls(file, path, state)

    def refuse_change(self) -> None:
        """Refuse a file that was written to while it was read. :raises TransientError: names it."""
        try:
            same = _state(self.path) == self.state
        except FileNotFoundError:
            same = False
        if not same:
            raise changed(self.file.uri)


def _state(path: Path) -> tuple[int, int, int]:
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns
