"""Which files are meant: ``s3://bucket/original-data/*.csv``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import unquote_to_bytes

from airflow_elt_provider.errors import ConfigurationError

SUFFIXES: Final = (".csv", ".csv.gz")
_URI: Final = re.compile(r"(?:(s3|gs)://([^/]+)|(?:file://(?:localhost)?)?(?=/))/(.+)", re.DOTALL)
_WILD: Final = re.compile(r"[*?\[]")
_EXAMPLE: Final = "write s3://bucket/folder/*.csv, gs://bucket/folder/*.csv, file:///folder/*.csv or an absolute path"


@dataclass(frozen=True)
class FilePattern:
    """A path with ``*``, ``?`` and ``[...]`` in its last parts.

    As in a shell, none of them matches a slash, nor the dot at the beginning of a name.

    :param bucket: "" for ``file``.
    :param folder: the parts before the first that has such a character.
    :param names: the other parts; the last is that of the files.
    """

    text: str
    scheme: str
    bucket: str
    folder: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> FilePattern:
        """Read a URI or an absolute path.

        :raises ConfigurationError: for anything else, and for what this version does not read.
        """
        found = _URI.fullmatch(text)
        if found is None:
            raise ConfigurationError(f"path={text!r} does not name files.", hint=_EXAMPLE)
        bucket, rest = found[2] or "", found[3]
        if text.startswith("file:"):
            rest = os.fsdecode(unquote_to_bytes(rest))
        parts = tuple(rest.split("/"))
        for bad, what, hint in _problems(bucket, parts):
            if bad:
                raise ConfigurationError(f"path={text!r} {what}.", hint=hint)
        fixed = next((at for at, part in enumerate(parts[:-1]) if _WILD.search(part)), len(parts) - 1)
        return cls(text, found[1] or "file", bucket, parts[:fixed], parts[fixed:])

    @property
    def root(self) -> str:
        """The folder below which all of the files lie, as a URI or an absolute path."""
        start = f"{self.scheme}://{self.bucket}/" if self.bucket else "/"
        return start + "/".join(self.folder)

    @property
    def store(self) -> str:
        """The bucket, or ``file://``."""
        return f"{self.scheme}://{self.bucket}"

    def matches(self, uri: str, root: str) -> bool:
        """Say whether a file is meant; ``root`` is the URI of the pattern's own folder."""
        path = uri.removeprefix(f"{root}/")
        if self.scheme == "file":
            path = os.fsdecode(unquote_to_bytes(path))
        parts = path.split("/")
        return len(parts) == len(self.names) and all(map(_fits, parts, self.names))


def _problems(bucket: str, parts: tuple[str, ...]) -> list[tuple[bool, str, str]]:
    last = parts[-1]
    open_end = last.endswith(("*", "?", "]"))
    return [
        (bool(_WILD.search(bucket)), f"has no bucket's name ({bucket!r})", "name one bucket"),
        (last == "", "names a folder", "say which files of it, e.g. folder/*.csv"),
        (bool({"", ".", ".."} & {*parts[:-1]}), "has '.', '..' or an empty part in it", "write the path without"),
        ("**" in parts, "has '**' in it, which is not in this version", "write one * for each folder: */*.csv"),
        (not open_end and not last.lower().endswith(SUFFIXES),
         f"ends in {last!r}: this version reads {' and '.join(SUFFIXES)}", "name such files"),
    ]  # fmt: skip


def _fits(name: str, wanted: str) -> bool:
    return fnmatchcase(name, wanted) and not (name.startswith(".") and not wanted.startswith("."))
