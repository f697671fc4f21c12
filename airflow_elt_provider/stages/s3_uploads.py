"""Uploads in parts that killed tasks left unfinished; they cost storage, unseen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_elt_provider.core.layout import load_file
from airflow_elt_provider.stages.s3_errors import ObjectPlace, s3_errors
from airflow_elt_provider.stages.s3_settings import S3StageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def abort_unfinished(
    client: S3Client, prefix: ObjectPlace, before: datetime, settings: S3StageSettings
) -> tuple[str, ...]:
    """Abort the uploads of loads that began ``before``, and return what they were."""
    uploads = [upload for upload in _uploads(client, prefix, settings) if upload["Initiated"] < before]
    return tuple(_abort(client, prefix.bucket, upload, settings) for upload in uploads)


def _uploads(client: S3Client, prefix: ObjectPlace, settings: S3StageSettings) -> Iterator[Any]:
    below = f"{prefix.key}/" if prefix.key else ""
    pages = client.get_paginator("list_multipart_uploads").paginate(
        Bucket=prefix.bucket, Prefix=below, **settings.everywhere
    )
    with s3_errors(ObjectPlace(prefix.bucket)):
        for page in pages:
            yield from (each for each in page.get("Uploads", []) if load_file(each["Key"].removeprefix(below)))


def _abort(client: S3Client, bucket: str, upload: Any, settings: S3StageSettings) -> str:
    from botocore.exceptions import ClientError

    place = ObjectPlace(bucket, upload["Key"])
    try:
        with s3_errors(place):
            client.abort_multipart_upload(
                Bucket=bucket, Key=place.key, UploadId=upload["UploadId"], **settings.everywhere
            )
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchUpload":
            raise
    return f"{place.uri} (unfinished upload)"
