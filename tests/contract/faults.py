"""Power cuts: at any statement of a destination and any operation of a stage, before it or after it."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from airflow_elt_provider.core.protocols import Stage, StoredFile


class PowerCutError(BaseException):
    """The machine is gone. Not an Exception: nothing may handle it."""


@dataclass
class Fuse:
    """Counts moments, and blows at the one it was told."""

    blow_at: int | None = None
    moments: list[str] = field(default_factory=list)
    _last: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def tick(self, moment: str) -> None:
        """Pass one moment.

        :param moment: what is about to happen, or "" for a statement that is done. A cut after one statement is a cut
            before the next, so of those only the moment after COMMIT counts.
        """
        with self._lock:  # a source has threads
            last, self._last = self._last, moment
            if not moment and last != "COMMIT":
                return
            self.moments.append(" ".join(moment.split())[:120] or f"after {last}")
            blows = self.blow_at == len(self.moments)
        if blows:
            raise PowerCutError(self.moments[-1])


@dataclass
class FusedStage:
    """A stage whose every change is a moment for the fuse, before and after it happened."""

    inner: Stage
    fuse: Fuse

    def __getattr__(self, name: str) -> Any:
        """Pass on what only some stages have."""
        return getattr(self.inner, name)

    @property
    def root(self) -> str:
        return self.inner.root

    @property
    def scheme(self) -> str:
        return self.inner.scheme

    def workspace(self) -> AbstractContextManager[Path]:
        return self.inner.workspace()

    def put(self, local: Path, path: str) -> str:
        with self._moments(f"put {Path(path).name}"):
            return self.inner.put(local, path)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        with self._moments(f"put_if_absent {Path(path).name}"):
            return self.inner.put_if_absent(path, data)

    def read(self, uri: str) -> bytes:
        return self.inner.read(uri)

    def fetch(self, uri: str) -> AbstractContextManager[Path]:
        return self.inner.fetch(uri)

    def exists(self, uri: str) -> bool:
        return self.inner.exists(uri)

    def list(self, path: str = "") -> Iterator[StoredFile]:
        return self.inner.list(path)

    def delete(self, uris: Sequence[str]) -> None:
        with self._moments(f"delete {len(uris)} files"):
            self.inner.delete(uris)

    def collect_garbage(self, older_than: timedelta) -> Sequence[str]:
        return self.inner.collect_garbage(older_than)

    @contextmanager
    def _moments(self, what: str) -> Iterator[None]:
        self.fuse.tick(f"before {what}")
        yield
        self.fuse.tick(f"after {what}")
