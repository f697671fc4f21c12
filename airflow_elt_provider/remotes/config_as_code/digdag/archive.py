"""The archive of a Digdag project: a tar.gz, read with distrust, and written always the same."""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import re
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from airflow_elt_provider.errors import ConfigurationError

MOST_BYTES: Final = 256 << 20
"""Of an archive, unpacked. Digdag itself takes 2 MiB unless its ``api.max_archive_total_size_limit`` says otherwise."""
MOST_FILES: Final = 20_000
_MODE, _EXECUTABLE, _ANY_EXECUTE = 0o644, 0o755, 0o111
_REVISION: Final = 12
_MOST_LINKS: Final = 16
_ODD: Final = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]|^[A-Za-z]:")
"""Control characters, backslashes, names that are no UTF-8, and drives."""
_File: TypeAlias = tuple[bytes, int]
"""Content and mode."""
_UNREADABLE: Final = (tarfile.TarError, OSError, EOFError, OverflowError, ValueError, zlib.error)


@dataclass(frozen=True)
class Archive:
    """The files of one revision, by relative path; of their modes, only whether they can be executed."""

    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    executable: frozenset[str] = frozenset()

    def packed(self) -> bytes:
        """Return the tar.gz, the same for the same files."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, content in sorted(self.files.items()):
                member = tarfile.TarInfo(path)
                member.size, member.mtime = len(content), 0
                member.mode = _EXECUTABLE if path in self.executable else _MODE
                tar.addfile(member, io.BytesIO(content))
        return gzip.compress(packed.getvalue(), mtime=0)

    def revision(self) -> str:
        """Return the name of the revision with just these files: a hash of them."""
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            mode = "x" if path in self.executable else "-"
            digest.update(f"{path}\0{mode}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:_REVISION]


def is_hidden(path: str) -> bool:
    """Whether a path is one that ``digdag push`` leaves out, and folders of files too: part of it begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def unpacked(content: bytes, place: str, most: int = MOST_BYTES) -> Archive:
    """Return what a tar.gz holds.

    Folders are left out, a symbolic link is the file to which it leads, and of a path that comes twice the last is
    taken.

    :param place: the project, for messages.
    :param most: bytes that it may hold, unpacked.
    :raises ConfigurationError: for what is no tar.gz or too large, for a path or a link that leads out of the
        project, and for hard links and devices.
    """
    try:
        files, links = _sorted_out(_members(_plain(content, place, most), place))
    except _UNREADABLE as error:
        raise ConfigurationError(
            f"The archive of {place} cannot be read: {type(error).__name__}: {error}.", hint="push the project anew"
        ) from None
    files.update({path: files[goal] for path, goal in _goals(links, files, place).items()})
    if sum(len(data) for data, _ in files.values()) > most:
        raise _too_large(place, most)
    whole = Archive({path: data for path, (data, _) in files.items()}, _executable(files))
    refuse_odd_paths(whole.files, place)
    return whole


def _sorted_out(members: Iterable[tuple[str, _File | str]]) -> tuple[dict[str, _File], dict[str, str]]:
    files: dict[str, _File] = {}
    links: dict[str, str] = {}
    for path, found in members:
        files.pop(path, None)
        links.pop(path, None)
        if isinstance(found, str):
            links[path] = found
        else:
            files[path] = found
    return files, links


def _executable(files: Mapping[str, _File]) -> frozenset[str]:
    return frozenset(path for path, (_, mode) in files.items() if mode & _ANY_EXECUTE)


def _goals(links: Mapping[str, str], files: Collection[str], place: str) -> dict[str, str]:
    """Return the file of the archive to which each link leads: ``digdag push`` makes such links."""
    found: dict[str, str] = {}
    for path in links:
        goal = path
        for _ in range(_MOST_LINKS):
            goal = posixpath.normpath(posixpath.join(posixpath.dirname(goal), links[goal])) if goal in links else goal
        if goal not in files:
            raise _refused(place, path, f"is a link that leads to no file of the project ({links[path][:200]!r})")
        found[path] = goal
    return found


def refuse_odd_paths(files: Mapping[str, bytes], place: str) -> None:
    """Refuse files that cannot be unpacked side by side.

    :param place: the project, for messages.
    :raises ConfigurationError: for a path that leads out of the project, and for one that is a file and a folder.
    """
    folders = {path[:number] for path in files for number, char in enumerate(path) if char == "/"}
    for path in files:
        if _ODD.search(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise _refused(place, path, "leads out of the project, or has a name that no system is sure to take")
        if path in folders:
            raise _refused(place, path, "is a file and a folder")


def _plain(content: bytes, place: str, most: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        plain = packed.read(most + 1)
    if len(plain) > most:
        raise _too_large(place, most)
    return plain


def _members(plain: bytes, place: str) -> Iterator[tuple[str, _File | str]]:
    """Yield the path of each file with its content and mode, or where it leads."""
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
        for number, member in enumerate(tar):
            if number >= MOST_FILES:
                raise ConfigurationError(
                    f"The archive of {place} holds more than {MOST_FILES} files.", hint="take some out of the project"
                )
            if member.isdir():
                continue
            path = member.name.removeprefix("./")
            data = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if data is not None:
                yield path, (data.read(), member.mode)
            elif member.issym():
                yield path, member.linkname
            else:
                raise _refused(place, path, "is a hard link, a device or the like")


def _too_large(place: str, most: int) -> ConfigurationError:
    return ConfigurationError(
        f"The archive of {place} holds more than {most >> 20} MiB.", hint="take large files out of the project"
    )


def _refused(place: str, path: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"The archive of {place}: {path[:200]!r} {what}.",
        hint="put a plain file with a relative path in its place, and push the project anew",
    )
