"""A prefix of an S3 bucket."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.stages.refusals import taken
from airflow_elt_provider.stages.s3_errors import ObjectPlace, answered, s3_errors
from airflow_elt_provider.stages.s3_settings import S3StageSettings
from airflow_elt_provider.stages.s3_uploads import abort_unfinished
from airflow_elt_provider.stages.s3_versions import Body, download, read_range, stream
from airflow_elt_provider.stages.uri import object_key, parse_stage_uri, safe_path, safe_prefix
from airflow_elt_provider.stages.work_folders import remove_dead, work_folder
from airflow_elt_provider.stages.write_once import WRITER, write_once

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DELETE_BATCH: Final = 1000
_REFUSED: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload", "412", "409"})
"""What a conditional write is answered where another object is, or another write under way."""


class S3Stage:
    """Keeps files below a prefix. Its methods may be called by several threads at once.

    :param client_factory: makes the boto3 client on first use. It must be the stage's own: everything it
        writes becomes conditional (``If-None-Match: *``), multipart uploads too.
    """

    def __init__(self, client_factory: Callable[[], S3Client], bucket: str, prefix: str = "",
                 settings: S3StageSettings = S3StageSettings()) -> None:  # noqa: B008 - frozen  # fmt: skip
        uri = parse_stage_uri(f"s3://{bucket}/{prefix}")
        self._bucket, self._prefix = uri.bucket, uri.path
        self._factory, self._settings = client_factory, settings
        self._made: S3Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"S3Stage({self.root!r})"

    @property
    def root(self) -> str:
        """URI of the prefix."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def scheme(self) -> str:
        """``s3``."""
        return "s3"

    @property
    def _client(self) -> S3Client:
        with self._lock:
            if self._made is None:
                client = self._factory()
                for operation in ("PutObject", "CompleteMultipartUpload"):
                    client.meta.events.register(
                        f"before-parameter-build.s3.{operation}", _unless_there, f"elt-{operation}"
                    )
                self._made = client
            return self._made

    # --- writing ---

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Lend a folder on the worker's disk."""
        with work_folder(self._settings.work) as folder:
            yield folder

    def put(self, local: Path, path: str) -> str:
        """Upload a file in parts, remove it here and return its URI.

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
        return self._write(place, partial(self._put_object, place.key, data))

    def _upload(self, local: Path, key: str, writer: str) -> None:
        from boto3.s3.transfer import create_transfer_manager

        with create_transfer_manager(self._client, self._settings.transfer) as manager:
            extra = {**self._settings.writing, "Metadata": {WRITER: writer}}
            manager.upload(str(local), self._bucket, key, extra).result()

    def _put_object(self, key: str, data: bytes, writer: str) -> None:
        metadata = {WRITER: writer}
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data, Metadata=metadata, **self._settings.writing)

    def _write(self, place: ObjectPlace, send: Callable[[str], None]) -> bool:
        from botocore.exceptions import ClientError

        def sent(writer: str) -> bool:
            try:
                with s3_errors(place):
                    send(writer)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _REFUSED:
                    raise
                return False
            return True

        return write_once(place.uri, sent, partial(self._writer, place))

    def _writer(self, place: ObjectPlace) -> str | None:
        """Return who wrote an object ("" for a stranger), or None when there is none."""
        try:
            with s3_errors(place):
                head = self._client.head_object(Bucket=self._bucket, Key=place.key, **self._settings.everywhere)
        except FileNotFoundError:
            return None
        return head["Metadata"].get(WRITER, "")

    # --- reading ---

    def read(self, uri: str) -> bytes:
        """Return a small object. :raises FileNotFoundError: when it is gone."""
        place = self._place_of(uri)
        with s3_errors(place):
            return self._client.get_object(Bucket=self._bucket, Key=place.key, **self._settings.everywhere)[
                "Body"
            ].read()

    @contextlib.contextmanager
    def fetch(self, uri: str) -> Iterator[Path]:
        """Lend a local copy. :raises FileNotFoundError: when the object is gone."""
        from boto3.s3.transfer import create_transfer_manager

        place = self._place_of(uri)
        with self.workspace() as folder:
            copy = folder / Path(place.key).name
            with s3_errors(place), create_transfer_manager(self._client, self._settings.transfer) as manager:
                manager.download(self._bucket, place.key, str(copy), self._settings.everywhere).result()
            yield copy

    def stream(self, file: StoredFile) -> contextlib.AbstractContextManager[Body]:
        """Lend an object's bytes as they arrive, of the version that was listed.

        :raises FileNotFoundError: when that is gone.
        """
        return stream(self._client, self._listed_place(file), file.version, self._settings)

    def read_range(self, file: StoredFile, start: int, length: int) -> bytes:
        """Return some of an object's bytes; fewer at its end.

        :raises FileNotFoundError: when it is gone, or not the version that was listed.
        """
        if start >= file.bytes:
            return b""
        return read_range(self._client, self._listed_place(file), file.version, self._settings, start, length)

    def exists(self, uri: str) -> bool:
        """Whether the object is there."""
        return self._writer(self._place_of(uri)) is not None

    def list(self, path: str = "") -> Iterator[StoredFile]:
        """List the objects below ``path`` in order of their keys."""
        place = self._place(safe_prefix(path))
        prefix = f"{place.key}/" if place.key else ""
        yield from self._listed(place, Prefix=prefix)

    def _listed(self, place: ObjectPlace, **which: Any) -> Iterator[StoredFile]:
        asked = {"Bucket": self._bucket, **which, **self._settings.everywhere}
        pages = self._client.get_paginator("list_objects_v2").paginate(**asked)
        with s3_errors(place):
            for page in pages:
                for found in page.get("Contents", []):
                    if not found["Key"].endswith("/"):
                        yield StoredFile(
                            f"s3://{self._bucket}/{found['Key']}",
                            found["Size"],
                            found["LastModified"].astimezone(UTC),
                            found.get("ETag", ""),
                        )

    # --- files of others ---

    def find(self, prefix: str, *, deep: bool) -> Iterator[StoredFile]:
        """List the objects whose key below the root begins with ``prefix``; with a slash behind it where ``deep``."""
        whole = f"{self._prefix}/{prefix}" if self._prefix else prefix
        yield from self._listed(ObjectPlace(self._bucket, whole), Prefix=whole, **({} if deep else {"Delimiter": "/"}))

    def fetch_version(self, file: StoredFile, to: Path) -> Path:
        """Copy an object as it was listed. :raises FileNotFoundError: when it is gone, or another by now."""
        download(self._client, self._listed_place(file), file, to, self._settings)
        return to

    # --- removing ---

    def delete(self, uris: Sequence[str]) -> None:
        """Delete objects; all are tried before the first refusal is raised."""
        keys = [self._place_of(uri).key for uri in uris]
        refused: list[Any] = []
        for start in range(0, len(keys), _DELETE_BATCH):
            batch: Any = [{"Key": key} for key in keys[start : start + _DELETE_BATCH]]
            with s3_errors(ObjectPlace(self._bucket, keys[start])):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True}, **self._settings.everywhere
                )
            refused += [error for error in answer.get("Errors", []) if error["Code"] != "NoSuchKey"]
        if refused:
            raise self._not_deleted(refused)

    def _not_deleted(self, refused: Sequence[Any]) -> Exception:
        from botocore.exceptions import ClientError

        first = refused[0]
        error = ClientError({"Error": {"Code": first["Code"], "Message": first.get("Message", "")}}, "DeleteObjects")
        translated = answered(error, ObjectPlace(self._bucket, first["Key"])) or error
        translated.add_note(f"{len(refused)} objects could not be deleted")
        return translated

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        """Abort the uploads that killed tasks left unfinished; they cost storage, unseen.

        Work folders on this worker's disk go too.
        """
        removed = remove_dead(self._settings.work, older_than)
        if not self._settings.abort_uploads:
            return removed
        before = datetime.now(UTC) - older_than
        return (*removed, *abort_unfinished(self._client, self._place(""), before, self._settings))

    # --- for others ---

    def credentials(self) -> Mapping[str, Secret]:
        """Return the keys that the stage logs in with, by boto3's names, for a system that reads the bucket itself.

        Where a role was assumed they end; ask again for each use.
        """
        with s3_errors(ObjectPlace(self._bucket)):
            found = self._client._request_signer._credentials  # type: ignore[attr-defined]  # noqa: SLF001 - boto3 has no other way
            if found is None:
                return {}
            keys = found.get_frozen_credentials()
        given = {
            "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key,
            "aws_session_token": keys.token,
        }  # fmt: skip
        return {name: Secret(value) for name, value in given.items() if value}

    # --- names ---

    def _place(self, path: str) -> ObjectPlace:
        return ObjectPlace(self._bucket, "/".join(part for part in (self._prefix, path) if part))

    def _place_of(self, uri: str) -> ObjectPlace:
        return self._place(object_key(uri, self.root))

    def _listed_place(self, file: StoredFile) -> ObjectPlace:
        """Return where a listed file is; of others' names, :meth:`_place_of` refuses some."""
        return ObjectPlace(self._bucket, file.uri.removeprefix(f"s3://{self._bucket}/"))


def _unless_there(params: dict[str, Any], **_: object) -> None:
    params["IfNoneMatch"] = "*"
