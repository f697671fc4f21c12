"""A prefix of an S3 bucket with small files, which are read and replaced whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from airflow_elt_provider.stages.folder_rules import MOST_BYTES, read_at_once, shown, too_large
from airflow_elt_provider.stages.s3_errors import ObjectPlace, s3_errors
from airflow_elt_provider.stages.s3_settings import S3StageSettings
from airflow_elt_provider.stages.uri import parse_stage_uri, safe_path

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Folder:
    """Keeps small objects below a prefix; unlike a stage it replaces them.

    :param client_factory: makes the boto3 client on first use.
    """

    def __init__(self, client_factory: Callable[[], S3Client], bucket: str, prefix: str = "",
                 settings: S3StageSettings = S3StageSettings()) -> None:  # noqa: B008 - frozen  # fmt: skip
        uri = parse_stage_uri(f"s3://{bucket}/{prefix}")
        self._bucket, self._prefix = uri.bucket, f"{uri.path}/" if uri.path else ""
        self._factory, self._settings = client_factory, settings
        self._made: S3Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"S3Folder({self.uri!r})"

    @property
    def uri(self) -> str:
        """URI of the prefix."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self) -> Mapping[str, bytes]:
        """Return all files by path, in order; hidden ones are left out. {}: there is none.

        :raises ConfigurationError: for a file that is too large.
        """
        return read_at_once(list(self._listed()), self._get)

    def read_one(self, path: str) -> bytes | None:
        """Return one file; None for none."""
        try:
            return self._get(safe_path(path))
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file."""
        place = self._place(safe_path(path))
        with s3_errors(place):
            self._client.put_object(Bucket=self._bucket, Key=place.key, Body=content, **self._settings.writing)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is as good."""
        place = self._place(safe_path(path))
        with contextlib.suppress(FileNotFoundError), s3_errors(place):
            self._client.delete_object(Bucket=self._bucket, Key=place.key, **self._settings.everywhere)

    @property
    def _client(self) -> S3Client:
        with self._lock:
            if self._made is None:
                self._made = self._factory()
            return self._made

    def _listed(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, **self._settings.everywhere
        )
        with s3_errors(self._place("")):
            for page in pages:
                for found in page.get("Contents", []):
                    path = found["Key"].removeprefix(self._prefix)
                    if shown(path):
                        self._refuse_large(path, found["Size"])
                        yield path

    def _get(self, path: str) -> bytes:
        place = self._place(path)
        with s3_errors(place):
            answer = self._client.get_object(Bucket=self._bucket, Key=place.key, **self._settings.everywhere)
            with contextlib.closing(answer["Body"]) as body:
                self._refuse_large(path, answer["ContentLength"])
                return body.read()

    def _refuse_large(self, path: str, size: int) -> None:
        if size > MOST_BYTES:
            raise too_large(self._place(path).uri, size)

    def _place(self, path: str) -> ObjectPlace:
        return ObjectPlace(self._bucket, f"{self._prefix}{path}")
