"""A prefix of an S3 bucket with small files, which are read and replaced whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from airflow_elt_provider.stages.folder_rules import MOST_BYTES, BucketFolder, shown, too_large
from airflow_elt_provider.stages.s3_errors import ObjectPlace, s3_errors
from airflow_elt_provider.stages.s3_settings import S3StageSettings
from airflow_elt_provider.stages.uri import parse_stage_uri, safe_path

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Folder(BucketFolder["S3Client"]):
    """Keeps small objects below a prefix; unlike a stage it replaces them.

    :param client_factory: makes the boto3 client on first use.
    """

    def __init__(self, client_factory: Callable[[], S3Client], bucket: str, prefix: str = "",
                 settings: S3StageSettings = S3StageSettings()) -> None:  # noqa: B008 - frozen  # fmt: skip
        super().__init__(client_factory, parse_stage_uri(f"s3://{bucket}/{prefix}"))
        self._settings = settings

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file."""
        place = self._place(safe_path(path))
        with s3_errors(place):
            self._client.put_object(Bucket=self._bucket_name, Key=place.key, Body=content, **self._settings.writing)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is as good."""
        place = self._place(safe_path(path))
        with contextlib.suppress(FileNotFoundError), s3_errors(place):
            self._client.delete_object(Bucket=self._bucket_name, Key=place.key, **self._settings.everywhere)

    def _listed(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket_name, Prefix=self._prefix, **self._settings.everywhere
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
            answer = self._client.get_object(Bucket=self._bucket_name, Key=place.key, **self._settings.everywhere)
            with contextlib.closing(answer["Body"]) as body:
                self._refuse_large(path, answer["ContentLength"])
                return body.read()

    def _refuse_large(self, path: str, size: int) -> None:
        if size > MOST_BYTES:
            raise too_large(self._place(path).uri, size)

    def _place(self, path: str) -> ObjectPlace:
        return ObjectPlace(self._bucket_name, f"{self._prefix}{path}")
