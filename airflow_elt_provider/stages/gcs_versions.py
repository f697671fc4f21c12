"""Reading one generation of an object: as a stream, or to a local file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.stages.gcs_checksum import CHECKSUM
from airflow_elt_provider.stages.gcs_errors import GET, GcsPlace, gcs_errors
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from airflow_elt_provider.stages.refusals import changed

if TYPE_CHECKING:
    from google.cloud.storage import Blob

_CHUNK: Final = 8 << 20


class Body:
    """An object's bytes."""

    def __init__(self, body: Any, place: GcsPlace) -> None:
        self._body, self._place = body, place

    def read(self, size: int) -> bytes:
        """Return the next bytes, not more than ``size``; b"" at the end."""
        with _version_errors(self._place):
            data: bytes = self._body.read(size)
        return data


@contextmanager
def stream(blob: Blob, place: GcsPlace, version: str, settings: GcsStageSettings) -> Iterator[Body]:
    """Lend an object's bytes as they arrive; reading raises ``FileNotFoundError`` when that generation is gone."""
    call = {**settings.call, "raw_download": True, "if_generation_match": int(version)}
    with closing(blob.open("rb", chunk_size=_CHUNK, **call)) as body:
        yield Body(body, place)


def download(blob: Blob, place: GcsPlace, file: StoredFile, to: Path, settings: GcsStageSettings) -> None:
    """Copy an object as it was listed. :raises FileNotFoundError: when it is gone, or another by now."""
    which = {"if_generation_match": int(file.version)} if file.version else {}
    with _version_errors(place):
        blob.download_to_filename(str(to), checksum=CHECKSUM, **which, **settings.call)


@contextmanager
def _version_errors(place: GcsPlace) -> Iterator[None]:
    from google.api_core.exceptions import PreconditionFailed

    try:
        with gcs_errors(place, GET):
            yield
    except PreconditionFailed as error:
        raise changed(place.uri) from error
