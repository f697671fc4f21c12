"""Giving a finished file its name unless it is taken: at once, whoever else tries, whatever dies when."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

Publish = Callable[[Path, Path], bool]
"""Moves a file to a new name on the same file system; False, and nothing moved, when the name is taken."""

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_UNSUPPORTED: Final = frozenset({
    errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK,
})  # fmt: skip


def publish(source: Path, target: Path) -> bool:
    """Publish in the first way that the file system offers: FAT and some network folders have no links."""
    for way in (by_link, by_rename):
        try:
            return way(source, target)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    return by_lock(source, target)


def by_link(source: Path, target: Path) -> bool:
    """Publish by a hard link."""
    try:
        os.link(source, target)
    except FileExistsError:
        # NFS repeats a call whose answer was lost: then the name is taken by this very file.
        if not _same(source, target):
            return False
    source.unlink()
    return True


def by_rename(source: Path, target: Path) -> bool:
    """Publish by Linux's rename that does not replace."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    raise OSError(number, os.strerror(number), str(target))


def by_lock(source: Path, target: Path) -> bool:
    """Publish by a rename under a lock on the folder, which the kernel gives back when its holder dies."""
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.lexists(target):
            return False
        source.rename(target)
        return True
    finally:
        os.close(folder)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False


def flush_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(path: Path) -> None:
    """Wait until a folder's names are on the disk, where its file system can tell."""
    try:
        flush_file(path)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, names on the disk.

    :raises FileExistsError: when there is a file of that name.
    :raises FileNotFoundError: when somebody removed one in between.
    """
    missing: list[Path] = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        try:
            each.mkdir()
        except FileExistsError:
            # Made by a twin, and perhaps pruned again since: then lstat says so.
            if not stat.S_ISDIR(each.lstat().st_mode) and not each.is_dir():
                raise
        flush_folder(each.parent)
