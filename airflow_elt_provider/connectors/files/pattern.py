"""Which files are meant: ``s3://bucket/original-data/**/orders-*.{csv,csv.gz}``."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import unquote_to_bytes

from airflow_elt_provider.errors import ConfigurationError

_URI: Final = re.compile(r"(?:(s3|gs)://([^/]+)|(?:file://(?:localhost)?)?(?=/))/(.*)", re.DOTALL)
_BRACES: Final = re.compile(r"\{([^{}]*,[^{}]*)\}", re.DOTALL)
_WILD: Final = re.compile(r"[*?\[]|\{[^{}]*,[^{}]*\}", re.DOTALL)
_DEEP: Final = "**"
_ODD: Final = frozenset({"", ".", ".."})
_MOST: Final = 1000
_EXAMPLE: Final = "write s3://bucket/folder/*.csv, gs://bucket/folder/*.csv, file:///folder/*.csv or an absolute path"


@dataclass(frozen=True)
class FilePattern:
    """A path with ``*``, ``?``, ``[...]``, ``**`` and ``{a,b}`` in it; one that ends in a slash means all files below.

    As in a shell, none of them but ``**`` matches a slash, and none the dot at the beginning of a name.

    :param bucket: "" for ``file``.
    :param folder: the parts before the first that is not plain.
    :param rest: what follows them.
    """

    text: str
    scheme: str
    bucket: str
    folder: tuple[str, ...]
    rest: str

    @classmethod
    def parse(cls, text: str) -> FilePattern:
        """Read a URI or an absolute path.

        :raises ConfigurationError: for anything else.
        """
        found = _URI.fullmatch(text)
        if found is None:
            raise ConfigurationError(f"path={text!r} does not name files.", hint=_EXAMPLE)
        scheme, bucket, rest = found[1] or "file", found[2] or "", found[3]
        if text.startswith("file:"):
            rest = os.fsdecode(unquote_to_bytes(rest))
        rest += _DEEP if rest.endswith("/") or (bucket and not rest) else ""
        parts = tuple(rest.split("/"))
        for bad, what, hint in _problems(scheme, bucket, parts):
            if bad:
                raise ConfigurationError(f"path={text!r} {what}.", hint=hint)
        wild = _WILD.search(rest)
        plain = rest[: wild.start() if wild else len(rest)].split("/")[:-1]
        # A store of objects has keys with empty parts, which are no folders to open.
        fixed = next((at for at, part in enumerate(plain) if part in _ODD), len(plain))
        return cls(text, scheme, bucket, parts[:fixed], "/".join(parts[fixed:]))

    @property
    def root(self) -> str:
        """The folder below which all of the files lie, as a URI or an absolute path."""
        start = f"{self.scheme}://{self.bucket}/" if self.bucket else "/"
        return start + "/".join(self.folder)

    @property
    def store(self) -> str:
        """The bucket, or ``file://``."""
        return f"{self.scheme}://{self.bucket}"

    @cached_property
    def prefix(self) -> str:
        """What all of the files begin with, below the folder."""
        first, last = min(beginnings := [_literal(each) for each in self._expanded]), max(beginnings)
        return first[: next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]

    @cached_property
    def deep(self) -> bool:
        """Whether files may lie further down than in the folder itself."""
        return any("/" in each or each == _DEEP for each in self._expanded)

    def matches(self, path: str) -> bool:
        """Say whether a file is meant; ``path`` is its name below the folder."""
        return self._regex.fullmatch(path) is not None

    @cached_property
    def _expanded(self) -> tuple[str, ...]:
        return tuple(_expand(self.rest))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile("|".join(map(_regex, self._expanded)), re.DOTALL)


def _problems(scheme: str, bucket: str, parts: tuple[str, ...]) -> list[tuple[bool, str, str]]:
    odd = _ODD & {*parts}
    glued = [part for part in parts if _DEEP in part and part != _DEEP]
    return [
        (bool(_WILD.search(bucket)), f"has no bucket's name ({bucket!r})", "name one bucket"),
        (scheme == "file" and bool(odd), "has '.', '..' or an empty part in it", "write the path without"),
        (scheme == "file" and (len(parts) == 1 or bool(_WILD.search(parts[0]))) and parts[0] not in {*odd, _DEEP},
         "names files directly under /, and no file is read from there", "put them into a folder, and name it"),
        (scheme == "file" and parts[0] == _DEEP, "means every file of this machine", "name a folder"),
        (bool(glued), f"has {glued[:1]} in it, and ** stands for folders", "write **/ before a name, e.g. **/*.csv"),
        (len(list(_expand("/".join(parts), _MOST + 1))) > _MOST, f"stands for more than {_MOST} paths",
         "use * in the place of some {...}"),
    ]  # fmt: skip


def _expand(text: str, most: int = _MOST) -> Iterator[str]:
    """Write out what ``{a,b}`` stands for, as a shell does."""
    found = _BRACES.search(text)
    if found is None:
        yield text
        return
    given = 0
    for choice in found[1].split(","):
        for each in _expand(text[: found.start()] + choice + text[found.end() :], most):
            if given == most:
                return
            given += 1
            yield each


def _literal(text: str) -> str:
    """Return what stands before the first wildcard."""
    found = re.search(r"[*?\[]", text)
    return text[: found.start()] if found else text


def _regex(text: str) -> str:
    parts = text.split("/")
    written = [_part(part) + "/" if part != _DEEP else r"(?:(?!\.)[^/]*/)*" for part in parts[:-1]]
    last = r"(?:(?!\.)[^/]*/)*(?!\.)[^/]+" if parts[-1] == _DEEP else _part(parts[-1])
    return f"(?:{''.join(written)}{last})"


_TOKEN: Final = re.compile(r"\*+|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)
_TRANSLATED: Final = re.compile(r"\(\?s:(.*)\)\\[Zz]", re.DOTALL)


def _part(part: str) -> str:
    """Return the expression of one part."""
    written = r"(?!\.)" if part.startswith(("*", "?", "[")) and not part.startswith("[.]") else ""
    for found in _TOKEN.finditer(part):
        token = found[0]
        if token.startswith("*"):
            written += "[^/]*"
        elif token.startswith("?"):
            written += "[^/]"
        elif token.startswith("[") and len(token) > 1:
            written += "(?!/)" + _TRANSLATED.sub(r"\1", fnmatch.translate(token))
        else:
            written += re.escape(token)
    return written
