"""A folder of small files on a disk, which are read and replaced whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from airflow_elt_provider.core.layout import WORK_PREFIX
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.stages.folder_rules import MOST_BYTES, shown, too_large
from airflow_elt_provider.stages.no_replace import flush_file, flush_folder, make_folder
from airflow_elt_provider.stages.uri import file_uri, folder_path, safe_path
from airflow_elt_provider.stages.work_folders import disk_errors

_LINK: Final = "put the file itself there, or name the folder that it leads to"


class LocalFolder:
    """Keeps small files below a folder.

    Symbolic links are followed within the folder, as Kubernetes' mounted ConfigMaps need it, and refused where they
    lead out of it. Pipes, sockets and devices are left out.

    :param root: absolute path or ``file://`` URI of the folder; it is created when it is first written to.
    :raises ConfigurationError: for a path that is relative or has ``..`` in it.
    """

    def __init__(self, root: str | Path) -> None:
        self._folder = folder_path(root)

    def __repr__(self) -> str:
        return f"LocalFolder({self.uri!r})"

    @property
    def uri(self) -> str:
        """The folder's URI."""
        return file_uri(self._folder)

    def read(self) -> Mapping[str, bytes]:
        """Return all files by path, in order; hidden ones are left out. {}: there is no such folder.

        :raises ConfigurationError: for a link that leads out of the folder, and for a file that is too large.
        """
        found: dict[str, bytes] = {}
        with disk_errors(self._folder):
            for path in self._paths(self._folder, ()):
                with contextlib.suppress(FileNotFoundError):
                    found[path.relative_to(self._folder).as_posix()] = _content(path)
        return dict(sorted(found.items()))

    def read_one(self, path: str) -> bytes | None:
        """Return one file; None for none."""
        place = self._folder / safe_path(path)
        with disk_errors(self._folder):
            if not place.is_file():
                return None
            self._inside(place)
            try:
                return _content(place)
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file: a reader sees the old or the new; it has reached the disk then.

        :raises ConfigurationError: for a path that leads out of the folder.
        """
        target = self._folder / safe_path(path)
        draft = target.with_name(f"{WORK_PREFIX}{uuid4().hex}")
        with disk_errors(self._folder):
            self._inside(target.parent)
            if target.is_dir():
                raise ConfigurationError(f"{target} is in the way: it is a folder, not a file.", hint="move it")
            make_folder(target.parent)
            try:
                with draft.open("xb") as file:
                    file.write(content)
                flush_file(draft)
                draft.replace(target)
            except FileNotFoundError:
                raise TransientError(f"{target.parent} was removed while {target.name} was written to it.") from None
            finally:
                draft.unlink(missing_ok=True)
            flush_folder(target.parent)

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that are empty then; one that is gone is as good."""
        target = self._folder / safe_path(path)
        with disk_errors(self._folder):
            self._inside(target.parent)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                target.unlink()
            for folder in target.parents:
                if folder == self._folder or not _removed(folder):
                    return

    def _paths(self, folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
        """Yield the files below a folder.

        :param above: the folders that lead there, resolved.
        """
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
        except FileNotFoundError:
            return
        here = folder.resolve()
        if here in above:
            raise ConfigurationError(f"{folder} leads in a circle.", hint="remove the symbolic link")
        for path in (folder / name for name in names if shown(name)):
            if path.is_symlink():
                self._inside(path)
            if path.is_dir():
                yield from self._paths(path, (*above, here))
            elif path.is_file():
                yield path

    def _inside(self, path: Path) -> None:
        try:
            root, real = self._folder.resolve(), path.resolve()
        except (OSError, RuntimeError):  # RuntimeError until Python 3.12
            raise ConfigurationError(f"{path} leads in a circle.", hint="remove the symbolic link") from None
        if real != root and root not in real.parents:
            raise ConfigurationError(f"{path} leads out of the folder, to {real}.", hint=_LINK)
        if path.is_symlink() and not real.exists():
            raise ConfigurationError(f"{path} is a symbolic link to nothing ({real}).", hint="remove it")


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise too_large(file_uri(path), size)
    return path.read_bytes()


def _removed(folder: Path) -> bool:
    """Whether a folder is gone; ``rmdir`` looks itself, so no new file is lost."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # not empty, or not ours to remove: an empty folder does no harm
        return False
    return True
