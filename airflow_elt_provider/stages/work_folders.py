"""Private folders in which files are written before a stage gets them, and the errors of local disks."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from airflow_elt_provider.core.layout import WORK_PREFIX
from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError

log = logging.getLogger(__name__)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_FOLDER: Final = frozenset({errno.ENOTDIR, errno.EEXIST})
_OF_THE_MOMENT: Final = frozenset({
    errno.ESTALE, errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN,
})  # fmt: skip


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the system refuses below ``folder`` into this package's errors; a missing file stays one."""
    try:
        yield
    except OSError as error:
        translated = _translated(error, folder)
        if translated is None:
            raise
        raise translated from error


@contextlib.contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Lend a private folder in ``parent`` and remove it at the end.

    :raises ConfigurationError: when the disk runs full while it is lent, too.
    """
    with disk_errors(parent):
        folder = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=parent))
    try:
        yield folder
    except OSError as error:
        # Only this: what else fails meanwhile, such as a connection, need not be the disk's fault.
        if error.errno in _FULL:
            raise _full(parent) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_dead(parent: Path, older_than: timedelta) -> tuple[str, ...]:
    """Remove work folders and files in which nothing moved for ``older_than``, and return their paths.

    What belongs to another user and may not be removed stays, with a warning.
    """
    before = time.time() - older_than.total_seconds()
    removed = []
    for path in sorted(parent.glob(f"{WORK_PREFIX}*")):
        try:
            if _last_moved(path) < before:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                removed.append(str(path))
        except FileNotFoundError:
            continue
        except PermissionError:
            log.warning("%s was left behind by a killed task and may not be removed by user %d", path, os.geteuid())
    return tuple(removed)


def _last_moved(path: Path) -> float:
    newest = path.lstat().st_mtime
    for folder, _, names in os.walk(path):
        newest = max(newest, *(os.lstat(os.path.join(folder, name)).st_mtime for name in ("", *names)))  # noqa: PTH118
    return newest


def _translated(error: OSError, folder: Path) -> EltError | None:
    place = error.filename2 or error.filename or folder
    if error.errno in _FULL:
        return _full(folder)
    if error.errno in _REFUSED:
        return ConfigurationError(
            f"User {os.geteuid()} of this worker may not use {place} ({error.strerror}).",
            hint=f"let all workers read and write {folder}, or use another stage",
        )
    if error.errno in _NO_FOLDER:
        return ConfigurationError(
            f"{place} is in the way: it is a file, not a folder.", hint="move it, or use another stage"
        )
    if error.errno == errno.ENAMETOOLONG:
        return ConfigurationError(f"The name {place} is too long.", hint="give the load a shorter stream name")
    if error.errno in _OF_THE_MOMENT:
        return TransientError(f"{place} cannot be reached at the moment ({error.strerror}).")
    return None


def _full(folder: Path) -> ConfigurationError:
    return ConfigurationError(
        f"No space left on {folder}.",
        hint="free space there (`elt gc` removes old loads), or use a larger one",
    )
