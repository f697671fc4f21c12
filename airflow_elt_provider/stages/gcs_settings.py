"""How a stage uses its bucket of Google Cloud Storage."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from google.api_core.retry import Retry

_KEY: Final = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")
_OURS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "chunk_bytes": int, "folder": Path, "kms_key_name": str, "user_project": str,
}  # fmt: skip
_STEP: Final = 256 << 10
"""Google takes parts of an upload in multiples of this."""


@dataclass(frozen=True, kw_only=True)
class GcsStageSettings:
    """How a stage uses its bucket.

    :param kms_key_name: full name of the Cloud KMS key that encrypts; "" leaves it to the bucket's default.
    :param user_project: project that pays for the requests, for buckets whose requester pays.
    :param chunk_bytes: size of the parts of an upload, a multiple of 256 KiB.
    :param folder: local folder for files on their way; default the system's temporary one.
    :param patience: seconds for which Google's client repeats what failed in passing; 0 for never.
    :param timeout: seconds to wait for a connection, and for the next bytes of an answer.
    """

    kms_key_name: str = ""
    user_project: str = ""
    chunk_bytes: int = 16 << 20
    folder: Path | None = None
    patience: float = 120.0
    timeout: tuple[float, float] = (10.0, 60.0)

    def __post_init__(self) -> None:
        if self.kms_key_name and not _KEY.fullmatch(self.kms_key_name):
            raise ConfigurationError(
                f"kms_key_name={self.kms_key_name!r} is not the full name of a key.",
                hint="write projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version",
            )
        if self.chunk_bytes <= 0 or self.chunk_bytes % _STEP:
            raise ConfigurationError(
                f"chunk_bytes={self.chunk_bytes} is no multiple of 256 KiB.", hint=f"use {16 << 20}, the default"
            )

    @classmethod
    def parse(cls, extra: Mapping[str, Any]) -> GcsStageSettings:
        """Read the extras that are ours.

        :raises ConfigurationError: for a value that cannot be meant.
        """
        try:
            return cls(**{name: kind(extra[name]) for name, kind in _OURS.items() if extra.get(name)})
        except (TypeError, ValueError) as error:
            given = {name: extra[name] for name in _OURS if name in extra}
            raise ConfigurationError(
                f"The stage's connection has an extra of the wrong type among {given} ({error}).",
                hint="chunk_bytes is a number, the others are text",
            ) from error

    @property
    def bucket(self) -> dict[str, Any]:
        """Arguments of the bucket."""
        return {"user_project": self.user_project or None}

    @property
    def blob(self) -> dict[str, Any]:
        """Arguments of every object that is written."""
        return {"chunk_size": self.chunk_bytes, "kms_key_name": self.kms_key_name or None}

    @property
    def call(self) -> dict[str, Any]:
        """Arguments of every call."""
        return {"timeout": self.timeout, "retry": self.retry}

    @property
    def retry(self) -> Retry | None:
        """What Google's client repeats by itself: all our calls have one effect, however often they are sent."""
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(self.patience) if self.patience else None

    @property
    def work(self) -> Path:
        """Where work folders lie."""
        return self.folder or Path(tempfile.gettempdir())
