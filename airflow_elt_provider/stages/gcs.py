"""A prefix of a bucket of Google Cloud Storage."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.stages.gcs_checksum import CHECKSUM, checksum_of
from airflow_elt_provider.stages.gcs_errors import CREATE, DELETE, GET, LIST, GcsPlace, answered, gcs_errors
from airflow_elt_provider.stages.gcs_login import without_lookups
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from airflow_elt_provider.stages.gcs_versions import Body, download, stream
from airflow_elt_provider.stages.refusals import taken
from airflow_elt_provider.stages.uri import object_key, parse_stage_uri, safe_path, safe_prefix
from airflow_elt_provider.stages.work_folders import remove_dead, work_folder
from airflow_elt_provider.stages.write_once import WRITER, write_once

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket, Client

_DELETE_BATCH: Final = 100
_KIND: Final = "application/octet-stream"


class GcsStage:
    """Keeps files below a prefix. Its methods may be called by several threads at once.

    Every write is conditional (``ifGenerationMatch=0``) and carries its CRC32C, which Google compares before
    the object comes into being.

    :param client_factory: makes the client of ``google-cloud-storage`` on first use.
    """

    def __init__(self, client_factory: Callable[[], Client], bucket: str, prefix: str = "",
                 settings: GcsStageSettings = GcsStageSettings()) -> None:  # noqa: B008 - frozen  # fmt: skip
        uri = parse_stage_uri(f"gs://{bucket}/{prefix}")
        self._bucket_name, self._prefix = uri.bucket, uri.path
        self._factory, self._settings = client_factory, settings
        self._made: Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"GcsStage({self.root!r})"

    @property
    def root(self) -> str:
        """URI of the prefix."""
        return f"gs://{self._bucket_name}/{self._prefix}".rstrip("/")

    @property
    def scheme(self) -> str:
        """``gs``."""
        return "gs"

    @property
    def _client(self) -> Client:
        with self._lock:
            if self._made is None:
                self._made = without_lookups(self._factory())
            return self._made

    @property
    def _bucket(self) -> Bucket:
        return self._client.bucket(self._bucket_name, **self._settings.bucket)

    # --- writing ---

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Lend a folder on the worker's disk."""
        with work_folder(self._settings.work) as folder:
            yield folder

    def put(self, local: Path, path: str) -> str:
        """Upload a file, in parts when it is large, remove it here and return its URI.

        :raises DataError: when there is an object already.
        """
        place = self._place(safe_path(path))
        if not self._write(place, partial(self._upload, local, place.key)):
            raise taken(place.uri)
        local.unlink()
        return place.uri

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small object unless one is there, in one request."""
        place = self._place(safe_path(path))
        return self._write(place, partial(self._insert, place.key, data))

    def _upload(self, local: Path, key: str, writer: str) -> None:
        blob = self._new(key, writer, checksum_of(local))
        blob.upload_from_filename(
            str(local), content_type=_KIND, if_generation_match=0, checksum=None, **self._settings.call
        )

    def _insert(self, key: str, data: bytes, writer: str) -> None:
        self._new(key, writer, "").upload_from_string(
            data, content_type=_KIND, if_generation_match=0, checksum=CHECKSUM, **self._settings.call
        )

    def _new(self, key: str, writer: str, checksum: str) -> Blob:
        blob = self._bucket.blob(key, **self._settings.blob)
        blob.metadata = {WRITER: writer}
        if checksum:
            blob.crc32c = checksum
        return blob

    def _write(self, place: GcsPlace, send: Callable[[str], None]) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        def sent(writer: str) -> bool:
            try:
                with gcs_errors(place, CREATE):
                    send(writer)
            except PreconditionFailed:
                return False
            return True

        return write_once(place.uri, sent, partial(self._writer, place))

    def _writer(self, place: GcsPlace) -> str | None:
        """Return who wrote an object ("" for a stranger), or None when there is none."""
        try:
            with gcs_errors(place, GET):
                blob = self._bucket.blob(place.key)
                blob.reload(**self._settings.call)
        except FileNotFoundError:
            return None
        return str((blob.metadata or {}).get(WRITER, ""))

    # --- reading ---

    def read(self, uri: str) -> bytes:
        """Return a small object. :raises FileNotFoundError: when it is gone."""
        place = self._place_of(uri)
        with gcs_errors(place, GET):
            data: bytes = self._bucket.blob(place.key).download_as_bytes(checksum=CHECKSUM, **self._settings.call)
            return data

    @contextlib.contextmanager
    def fetch(self, uri: str) -> Iterator[Path]:
        """Lend a local copy. :raises FileNotFoundError: when the object is gone."""
        place = self._place_of(uri)
        with self.workspace() as folder:
            copy = folder / Path(place.key).name
            with gcs_errors(place, GET):
                self._bucket.blob(place.key).download_to_filename(str(copy), checksum=CHECKSUM, **self._settings.call)
            yield copy

    def stream(self, file: StoredFile) -> contextlib.AbstractContextManager[Body]:
        """Lend an object's bytes as they arrive, of the generation that was listed.

        :raises FileNotFoundError: when that is gone.
        """
        place = self._listed_place(file)
        return stream(self._bucket.blob(place.key), place, file.version, self._settings)

    def read_range(self, file: StoredFile, start: int, length: int) -> bytes:
        """Return some of an object's bytes; fewer at its end. :raises FileNotFoundError: when it is gone."""
        if start >= file.bytes:
            return b""
        place = self._listed_place(file)
        which: dict[str, Any] = {"start": start, "end": start + length - 1, "raw_download": True, "checksum": None}
        with gcs_errors(place, GET):
            data: bytes = self._bucket.blob(place.key).download_as_bytes(**which, **self._settings.call)
            return data

    def exists(self, uri: str) -> bool:
        """Whether the object is there."""
        return self._writer(self._place_of(uri)) is not None

    def list(self, path: str = "") -> Iterator[StoredFile]:
        """List the objects below ``path`` in order of their keys."""
        place = self._place(safe_prefix(path))
        yield from self._listed(place, prefix=f"{place.key}/" if place.key else None)

    def _listed(self, place: GcsPlace, **which: str | None) -> Iterator[StoredFile]:
        with gcs_errors(place, LIST):
            blobs = self._client.list_blobs(
                self._bucket, fields="items(name,size,timeCreated,generation),nextPageToken", **which,
                **self._settings.call,
            )  # fmt: skip
            for blob in blobs:
                if not blob.name.endswith("/"):
                    yield StoredFile(
                        f"gs://{self._bucket_name}/{blob.name}", blob.size, blob.time_created.astimezone(UTC),
                        str(blob.generation or ""),
                    )  # fmt: skip

    # --- files of others ---

    def find(self, prefix: str, *, deep: bool) -> Iterator[StoredFile]:
        """List the objects whose name below the root begins with ``prefix``; with a slash behind it where ``deep``."""
        whole = f"{self._prefix}/{prefix}" if self._prefix else prefix
        place = GcsPlace(self._bucket_name, whole)
        yield from self._listed(place, prefix=whole or None, delimiter=None if deep else "/")

    def fetch_version(self, file: StoredFile, to: Path) -> Path:
        """Copy an object as it was listed. :raises FileNotFoundError: when it is gone, or another by now."""
        place = self._listed_place(file)
        download(self._bucket.blob(place.key), place, file, to, self._settings)
        return to

    # --- removing ---

    def delete(self, uris: Sequence[str]) -> None:
        """Delete objects; all are tried before the first refusal is raised."""
        places = [self._place_of(uri) for uri in uris]
        refused: list[Exception] = []
        for start in range(0, len(places), _DELETE_BATCH):
            refused += self._delete_some(places[start : start + _DELETE_BATCH])
        if refused:
            refused[0].add_note(f"{len(refused)} objects could not be deleted")
            raise refused[0]

    def _delete_some(self, places: Sequence[GcsPlace]) -> Iterator[Exception]:
        from google.api_core import exceptions

        told: Any = exceptions.from_http_response
        retry = self._settings.retry
        send = partial(self._send_deletes, [place.key for place in places])
        with gcs_errors(places[0], DELETE):
            answers = retry(send)() if retry else send()
        for place, answer in zip(places, answers, strict=True):
            if answer.ok:
                continue
            error = told(answer)
            translated = answered(error, place, DELETE) or error
            if not isinstance(translated, FileNotFoundError):
                yield translated

    def _send_deletes(self, keys: Sequence[str]) -> Sequence[Any]:
        bucket, batch = self._bucket, self._client.batch(raise_exception=False)
        with batch:
            for key in keys:
                bucket.blob(key).delete(timeout=self._settings.timeout, retry=None)
        answers: Sequence[Any] = batch._responses  # noqa: SLF001 - the one place where the answers are told
        return answers

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Remove dead work folders on this worker's disk.

        Unfinished uploads cost nothing and end by themselves after a week.
        """
        return remove_dead(self._settings.work, older_than)

    # --- names ---

    def _place(self, path: str) -> GcsPlace:
        return GcsPlace(self._bucket_name, "/".join(part for part in (self._prefix, path) if part))

    def _place_of(self, uri: str) -> GcsPlace:
        return self._place(object_key(uri, self.root))

    def _listed_place(self, file: StoredFile) -> GcsPlace:
        """Return where a listed file is; of others' names, :meth:`_place_of` refuses some."""
        return GcsPlace(self._bucket_name, file.uri.removeprefix(f"gs://{self._bucket_name}/"))
