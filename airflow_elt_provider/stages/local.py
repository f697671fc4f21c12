"""A folder that all workers share."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from airflow_elt_provider.core.layout import WORK_PREFIX
from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.stages import no_replace
from airflow_elt_provider.stages.no_replace import Publish, flush_file, flush_folder, make_folder
from airflow_elt_provider.stages.refusals import changed, taken
from airflow_elt_provider.stages.uri import file_path, file_uri, folder_path, safe_path, safe_prefix
from airflow_elt_provider.stages.work_folders import disk_errors, remove_dead, work_folder

_RACES: Final = 100
"""How often a folder may be removed under our hands, as empty, before we put a file into it."""


class LocalStage:
    """Keeps files below a folder of a file system that all workers have mounted.

    Work folders lie in the root itself, so that a finished part only needs a new name.

    :param root: absolute path or ``file://`` URI of the folder; it is created when it is first written to.
    :param publish: how a finished file gets its name; tests of odd file systems choose.
    :raises ConfigurationError: for a path that is relative or has ``..`` in it.
    """

    def __init__(self, root: str | Path, *, publish: Publish = no_replace.publish) -> None:
        self._folder = folder_path(root)
        self._publish = publish

    def __repr__(self) -> str:
        return f"LocalStage({self.root!r})"

    @property
    def root(self) -> str:
        """The folder's URI."""
        return file_uri(self._folder)

    @property
    def scheme(self) -> str:
        """``file``."""
        return "file"

    # --- writing ---

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Lend a private folder on the same file system.

        :raises ConfigurationError: when the root cannot be written, or runs full.
        """
        with disk_errors(self._folder):
            make_folder(self._folder)
        with work_folder(self._folder) as folder:
            yield folder

    def put(self, local: Path, path: str) -> str:
        """Move a finished file to ``path`` and return its URI; it has reached the disk then.

        :raises DataError: when there is a file already.
        """
        target = self._folder / safe_path(path)
        with disk_errors(self._folder):
            try:
                flush_file(local)
                new = self._place(local, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                new = self._copy(local, target)
        if not new:
            raise taken(file_uri(target))
        return file_uri(target)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file unless one is there: whole or not at all, and on the disk when it is True."""
        target = self._folder / safe_path(path)
        with disk_errors(self._folder):
            make_folder(self._folder)
            draft = self._folder / f"{WORK_PREFIX}{uuid4().hex}"
            try:
                with draft.open("xb") as file:
                    file.write(data)
                flush_file(draft)
                return self._place(draft, target)
            finally:
                draft.unlink(missing_ok=True)

    def _place(self, local: Path, target: Path) -> bool:
        for _ in range(_RACES):
            try:
                make_folder(target.parent)
                new = self._publish(local, target)
            except FileNotFoundError:
                if not local.exists():
                    raise
                continue  # a delete elsewhere found the folder empty and removed it
            flush_folder(target.parent)
            return new
        raise TransientError(f"The folder {target.parent} is removed again and again while a file is put into it.")

    def _copy(self, local: Path, target: Path) -> bool:
        """Place a file of another file system."""
        with self.workspace() as folder:
            copy = folder / local.name
            shutil.copyfile(local, copy)
            flush_file(copy)
            new = self._place(copy, target)
        if new:
            local.unlink()
        return new

    # --- reading ---

    def read(self, uri: str) -> bytes:
        """Return a small file. :raises FileNotFoundError: when it is gone."""
        path = file_path(uri, self._folder)
        with disk_errors(self._folder):
            return path.read_bytes()

    @contextlib.contextmanager
    def fetch(self, uri: str) -> Iterator[Path]:
        """Lend the file itself: do not write to it. :raises FileNotFoundError: when it is gone."""
        path = file_path(uri, self._folder)
        with disk_errors(self._folder):
            path.open("rb").close()
        yield path

    @contextlib.contextmanager
    def stream(self, file: StoredFile) -> Iterator[_Reader]:
        """Lend a file's bytes, if it is as it was listed; also when it ends.

        :raises FileNotFoundError: when it is not.
        """
        path = file_path(file.uri, self._folder)
        with disk_errors(self._folder), path.open("rb") as body:
            yield _Reader(body, path, file)

    def read_range(self, file: StoredFile, start: int, length: int) -> bytes:
        """Return some of a file's bytes; fewer at its end. :raises FileNotFoundError: when it is gone."""
        with disk_errors(self._folder), file_path(file.uri, self._folder).open("rb") as body:
            body.seek(start)
            return body.read(length)

    def exists(self, uri: str) -> bool:
        """Whether the file is there."""
        path = file_path(uri, self._folder)
        with disk_errors(self._folder):
            return path.is_file()

    def list(self, path: str = "") -> Iterator[StoredFile]:
        """List the files below ``path`` by name, without work under way and symbolic links."""
        with disk_errors(self._folder):
            yield from _files(self._folder / safe_prefix(path))

    # --- files of others ---

    def find(self, prefix: str, *, deep: bool) -> Iterator[StoredFile]:
        """List the files whose name below the root begins with ``prefix``; further down where ``deep``."""
        folder, _, name = prefix.rpartition("/")
        with disk_errors(self._folder):
            yield from _files(self._folder / folder if folder else self._folder, name, deep=deep)

    def fetch_version(self, file: StoredFile, to: Path) -> Path:
        """Return the path of the file itself. :raises FileNotFoundError: when it is gone, or another by now."""
        del to
        path = file_path(file.uri, self._folder)
        with disk_errors(self._folder):
            path.open("rb").close()
            if file_version(path.stat()) != file.version:
                raise changed(file.uri)
        return path

    # --- removing ---

    def delete(self, uris: Sequence[str]) -> None:
        """Delete files, and the folders that this leaves empty."""
        paths = [file_path(uri, self._folder) for uri in uris]
        with disk_errors(self._folder):
            for path in paths:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
            for folder in dict.fromkeys(path.parent for path in paths):
                self._prune(folder)

    def _prune(self, folder: Path) -> None:
        """Remove a folder and those above it while empty; ``rmdir`` looks itself, so no new file is lost."""
        while folder != self._folder:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # not empty, or not ours to remove: an empty folder does no harm
                return
            folder = folder.parent

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Remove the unfinished work of killed tasks in which nothing moved for ``older_than``."""
        with disk_errors(self._folder):
            return remove_dead(self._folder, older_than)


class _Reader:
    """The bytes of a file that stays as it was listed."""

    def __init__(self, body: BinaryIO, path: Path, file: StoredFile) -> None:
        self._body, self._path, self._file = body, path, file
        self._refuse_change()

    def read(self, size: int) -> bytes:
        """Return the next bytes, not more than ``size``; b"" at the end."""
        data = self._body.read(size)
        if not data:
            self._refuse_change()
        return data

    def _refuse_change(self) -> None:
        for about in (os.fstat(self._body.fileno()), self._path.stat()):
            if file_version(about) != self._file.version:
                raise changed(self._file.uri)


def file_version(about: os.stat_result) -> str:
    """Return what any change of a file's content changes; the last of it, the time of change, nobody can set."""
    return f"{about.st_ino}-{about.st_size}-{about.st_mtime_ns}-{about.st_ctime_ns}"


def _files(folder: Path, prefix: str = "", *, deep: bool = True) -> Iterator[StoredFile]:
    """List files; those of the folder itself, and its folders, only where their name begins with ``prefix``."""
    try:
        with os.scandir(folder) as entries:
            found = (entry for entry in entries if entry.name.startswith(prefix))
            ordered = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in ordered:
        if entry.name.startswith(WORK_PREFIX):
            continue
        if entry.is_dir(follow_symlinks=False):
            if deep:
                yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):
                yield _stored(Path(entry.path), entry.stat(follow_symlinks=False))


def _stored(path: Path, about: os.stat_result) -> StoredFile:
    modified, since = (datetime.fromtimestamp(seconds, UTC) for seconds in (about.st_mtime, about.st_ctime))
    return StoredFile(file_uri(path), about.st_size, modified, file_version(about), since)
