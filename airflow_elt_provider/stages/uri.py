"""URIs of stages and of the files on them.

``file://`` URIs are percent-encoded, ``s3://`` URIs hold the key as it is: so everybody reads them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from airflow_elt_provider.core.layout import WORK_PREFIX
from airflow_elt_provider.errors import ConfigurationError

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_FILE: Final = "file://"


@dataclass(frozen=True)
class StageUri:
    """A stage's place.

    :param bucket: "" for ``file``.
    :param path: prefix in the bucket without slashes at its ends, or the absolute path of a folder.
    """

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        return (
            file_uri(Path(self.path))
            if self.scheme == "file"
            else f"{self.scheme}://{self.bucket}/{self.path}".rstrip("/")
        )


def parse_stage_uri(text: str) -> StageUri:
    """Read ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``file:///folder`` or an absolute path.

    :raises ConfigurationError: for anything else.
    """
    scheme, found, rest = text.partition("://")
    if not found or scheme == "file":
        return StageUri("file", "", str(folder_path(text)))
    if scheme not in {"s3", "gs"}:
        raise ConfigurationError(
            f"{text!r} is not the URI of a stage.",
            hint="write s3://bucket/prefix, gs://bucket/prefix or file:///shared/folder",
        )
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(
            f"{text!r} has no valid bucket name ({bucket!r}).", hint=f"write {scheme}://bucket/prefix"
        )
    return StageUri(scheme, bucket, safe_prefix(prefix))


def folder_path(folder: str | Path) -> Path:
    """Return the path of a folder given as a path or as a ``file://`` URI.

    :raises ConfigurationError: unless it is absolute and free of ``..``.
    """
    path = _decoded(folder) if isinstance(folder, str) and folder.startswith("file:") else Path(folder)
    if not path.is_absolute():
        raise ConfigurationError(
            f"The stage {str(folder)!r} is a relative path, which is another folder in every process.",
            hint="give the absolute path of a folder that all workers share, e.g. file:///mnt/elt",
        )
    if ".." in path.parts or path == Path("/") or "\0" in str(path):
        raise ConfigurationError(
            f"The stage {str(folder)!r} is not a folder of its own.",
            hint="name one, without '..', e.g. file:///mnt/elt",
        )
    return path


def _decoded(uri: str) -> Path:
    host, slash, path = uri.removeprefix(_FILE).partition("/")
    if not uri.startswith(_FILE) or host not in {"", "localhost"}:
        raise ConfigurationError(
            f"{uri!r} does not name a folder on this machine.", hint="write file:///absolute/folder"
        )
    return Path(os.fsdecode(unquote_to_bytes(slash + path)))


def file_uri(path: Path) -> str:
    """Return the ``file://`` URI of an absolute path."""
    return _FILE + quote(os.fsencode(path))


def file_path(uri: str, root: Path) -> Path:
    """Return the path of a file on the stage at ``root``.

    :raises ConfigurationError: when the URI leads elsewhere.
    """
    path = _decoded(uri)
    if root not in path.parents:
        raise elsewhere(uri, file_uri(root))
    return root / safe_path(str(path.relative_to(root)))


def object_key(uri: str, root: str) -> str:
    """Return the path of an object below ``root``, the URI of a bucket or of a prefix in it.

    :raises ConfigurationError: when the URI leads elsewhere.
    """
    if not uri.startswith(f"{root}/"):
        raise elsewhere(uri, root)
    return safe_path(uri.removeprefix(f"{root}/"))


def safe_path(path: str) -> str:
    """Return a path below a stage's root as it is.

    :raises ConfigurationError: when it leads out of the root, or to where work is under way.
    """
    bad = {"", ".", ".."}
    if "\0" in path or any(part in bad or part.startswith(WORK_PREFIX) for part in path.split("/")):
        raise ConfigurationError(
            f"{path!r} is not a path below a stage's root.",
            hint=f"name it without '..', '//' and '{WORK_PREFIX}'",
        )
    return path


def safe_prefix(prefix: str) -> str:
    """Return a prefix without slashes at its ends; "" is the root itself.

    :raises ConfigurationError: as :func:`safe_path`.
    """
    bare = prefix.strip("/")
    return safe_path(bare) if bare else ""


def elsewhere(uri: str, root: str) -> ConfigurationError:
    """Return the error for a file of another stage."""
    return ConfigurationError(
        f"{uri} is not on the stage {root}.", hint="give this task the stage that the load was extracted to"
    )
