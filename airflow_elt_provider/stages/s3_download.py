"""One version of an object to a local file, in ranges at once where it is large."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.stages.s3_errors import ObjectPlace, s3_errors
from airflow_elt_provider.stages.s3_settings import S3StageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK: Final = 1 << 20
_TRIES: Final = 5
_CHANGED: Final = frozenset({"PreconditionFailed", "412", "InvalidRange", "416"})


def download(client: S3Client, place: ObjectPlace, file: StoredFile, to: Path, settings: S3StageSettings) -> None:
    """Copy an object as it was listed; every request says which version it wants (``If-Match``).

    :raises FileNotFoundError: when it is gone, or is another by now.
    """
    asked: dict[str, Any] = {"Bucket": place.bucket, "Key": place.key, **settings.everywhere}
    if file.version:
        asked["IfMatch"] = file.version
    size, part = file.bytes, settings.part_bytes
    ranges = [(at, min(at + part, size)) for at in range(0, size, part)] or [(0, 0)]
    with to.open("wb") as target, ThreadPoolExecutor(settings.threads if len(ranges) > 1 else 1, "elt-get") as pool:
        copy = partial(_copy, client, place, target.fileno(), asked, size)
        list(pool.map(copy, ranges))
    if to.stat().st_size != size:
        raise FileNotFoundError(errno.ENOENT, "Changed since it was listed", place.uri)


def _copy(
    client: S3Client, place: ObjectPlace, target: int, asked: dict[str, Any], size: int, span: tuple[int, int]
) -> None:
    start, end = span
    which = {} if end - start == size else {"Range": f"bytes={start}-{end - 1}"}
    _tried(partial(_get, client, place, target, {**asked, **which}, start))


def _get(client: S3Client, place: ObjectPlace, target: int, asked: dict[str, Any], at: int) -> None:
    from botocore.exceptions import ClientError

    try:
        with s3_errors(place), closing(client.get_object(**asked)["Body"]) as body:
            for data in body.iter_chunks(_CHUNK):
                os.pwrite(target, data, at)
                at += len(data)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _CHANGED:
            raise
        raise FileNotFoundError(errno.ENOENT, "Changed since it was listed", place.uri) from error


def _tried(get: Callable[[], None]) -> None:
    """Begin anew where the connection broke in the middle, which the client itself does not."""
    for _ in range(_TRIES - 1):
        with suppress(TransientError):
            get()
            return
    get()
