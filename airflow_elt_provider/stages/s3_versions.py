"""Reading one version of an object: as a stream, or to a local file, in ranges at once where it is large."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.stages.refusals import changed
from airflow_elt_provider.stages.s3_errors import ObjectPlace, s3_errors
from airflow_elt_provider.stages.s3_settings import S3StageSettings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

_CHUNK: Final = 1 << 20
_TRIES: Final = 5
_CHANGED: Final = frozenset({"PreconditionFailed", "412", "InvalidRange", "416"})


class Body:
    """An object's bytes."""

    def __init__(self, body: StreamingBody, place: ObjectPlace) -> None:
        self._body, self._place = body, place

    def read(self, size: int) -> bytes:
        """Return the next bytes, not more than ``size``; b"" at the end."""
        with s3_errors(self._place):
            return self._body.read(size)


@contextmanager
def stream(client: S3Client, place: ObjectPlace, version: str, settings: S3StageSettings) -> Iterator[Body]:
    """Lend an object's bytes as they arrive. :raises FileNotFoundError: when that version is gone."""
    with _version_errors(place):
        answer = client.get_object(Bucket=place.bucket, Key=place.key, IfMatch=version, **settings.everywhere)
    with closing(answer["Body"]) as body:
        yield Body(body, place)


def read_range(
    client: S3Client, place: ObjectPlace, version: str, settings: S3StageSettings, start: int, length: int
) -> bytes:
    """Return some of an object's bytes; fewer at its end. :raises FileNotFoundError: when that version is gone."""
    asked: dict[str, Any] = {"Bucket": place.bucket, "Key": place.key, **settings.everywhere}
    if version:
        asked["IfMatch"] = version
    with _version_errors(place):
        return client.get_object(**asked, Range=f"bytes={start}-{start + length - 1}")["Body"].read()


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
        raise changed(place.uri)


def _copy(
    client: S3Client, place: ObjectPlace, target: int, asked: dict[str, Any], size: int, span: tuple[int, int]
) -> None:
    start, end = span
    which = {} if end - start == size else {"Range": f"bytes={start}-{end - 1}"}
    _tried(partial(_get, client, place, target, {**asked, **which}, start))


def _get(client: S3Client, place: ObjectPlace, target: int, asked: dict[str, Any], at: int) -> None:
    with _version_errors(place), closing(client.get_object(**asked)["Body"]) as body:
        for data in body.iter_chunks(_CHUNK):
            os.pwrite(target, data, at)
            at += len(data)


@contextmanager
def _version_errors(place: ObjectPlace) -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        with s3_errors(place):
            yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in _CHANGED:
            raise
        raise changed(place.uri) from error


def _tried(get: Callable[[], None]) -> None:
    """Begin anew where the connection broke in the middle, which the client itself does not."""
    for _ in range(_TRIES - 1):
        with suppress(TransientError):
            get()
            return
    get()
