"""A prefix of a bucket of Google Cloud Storage with small files, which are read and replaced whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from airflow_elt_provider.stages.folder_rules import MOST_BYTES, BucketFolder, shown, too_large
from airflow_elt_provider.stages.gcs_checksum import CHECKSUM
from airflow_elt_provider.stages.gcs_errors import CREATE, DELETE, GET, LIST, GcsPlace, gcs_errors
from airflow_elt_provider.stages.gcs_login import without_lookups
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from airflow_elt_provider.stages.uri import parse_stage_uri, safe_path

if TYPE_CHECKING:
    from google.cloud.storage import Bucket, Client

_KIND: Final = "application/octet-stream"


class GcsFolder(BucketFolder["Client"]):
    """Keeps small objects below a prefix; unlike a stage it replaces them, which takes the permission to delete.

    :param client_factory: makes the client of ``google-cloud-storage`` on first use.
    """

    def __init__(self, client_factory: Callable[[], Client], bucket: str, prefix: str = "",
                 settings: GcsStageSettings = GcsStageSettings()) -> None:  # noqa: B008 - frozen  # fmt: skip
        super().__init__(lambda: without_lookups(client_factory()), parse_stage_uri(f"gs://{bucket}/{prefix}"))
        self._settings = settings

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file; Google compares its checksum before it comes into being."""
        place = self._place(safe_path(path))
        with gcs_errors(place, CREATE):
            blob = self._bucket.blob(place.key, **self._settings.blob)
            blob.upload_from_string(content, content_type=_KIND, checksum=CHECKSUM, **self._settings.call)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is as good."""
        place = self._place(safe_path(path))
        with contextlib.suppress(FileNotFoundError), gcs_errors(place, DELETE):
            self._bucket.blob(place.key).delete(**self._settings.call)

    @property
    def _bucket(self) -> Bucket:
        return self._client.bucket(self._bucket_name, **self._settings.bucket)

    def _listed(self) -> Iterator[str]:
        with gcs_errors(self._place(""), LIST):
            blobs = self._client.list_blobs(
                self._bucket,
                prefix=self._prefix or None,
                fields="items(name,size),nextPageToken",
                **self._settings.call,
            )
            for blob in blobs:
                path = blob.name.removeprefix(self._prefix)
                if shown(path):
                    if blob.size > MOST_BYTES:
                        raise too_large(self._place(path).uri, blob.size)
                    yield path

    def _get(self, path: str) -> bytes:
        place = self._place(path)
        with gcs_errors(place, GET):
            data: bytes = self._bucket.blob(place.key).download_as_bytes(checksum=CHECKSUM, **self._settings.call)
        return data

    def _place(self, path: str) -> GcsPlace:
        return GcsPlace(self._bucket_name, f"{self._prefix}{path}")
