"""Short-lived tokens, kept in this process's memory only: one mint at a time for each credential and audience."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import EltError

log = logging.getLogger(__name__)

REFRESH_AT: Final = 0.8
"""The part of its life after which a token is replaced, long before it ends."""
RETRY_AT: Final = 0.25
"""The part of what is left to it after which a token that could not be replaced is tried again."""

FAILED_FOR: Final = 5.0
"""Seconds for which a failed mint is remembered: who comes meanwhile fails at once instead of queueing to mint."""


@dataclass(frozen=True)
class Token:
    """What a mint returns.

    :param seconds: how long it lives from now on, by the issuer's own reckoning.
    """

    value: Secret
    seconds: float


@dataclass(frozen=True)
class _Held:
    value: Secret
    refresh_at: float
    ends_at: float


@dataclass
class _Place:
    """One credential's. ``held`` is replaced whole, so that a look at it never waits for who mints."""

    minting: threading.Lock = field(default_factory=threading.Lock)
    held: _Held | None = None
    failed: EltError | None = None
    failed_until: float = 0.0


class TokenCache:
    """Tokens by credential and audience, shared by all threads and event loops of the process."""

    def __init__(self) -> None:
        self._places: dict[Hashable, _Place] = {}
        self._lock = threading.Lock()

    def peek(self, key: Hashable) -> Secret | None:
        """Return a token that will do, without waiting. None: call :meth:`get`.

        While somebody mints the next one, the old one does until its end.
        """
        place, now = self._place(key), time.monotonic()
        held = place.held
        if held and (now < held.refresh_at or (now < held.ends_at and place.minting.locked())):
            return held.value
        return None

    def get(self, key: Hashable, mint: Callable[[], Token]) -> Secret:
        """Return a token, minting it where there is none or it nears its end; blocks.

        :raises EltError: whatever ``mint`` raises, unless the old token still does; the same error
            for a while after that.
        """
        place = self._place(key)
        with place.minting:
            now = time.monotonic()
            held = place.held
            if held and now < held.refresh_at:
                return held.value
            if place.failed and now < place.failed_until:
                raise place.failed.with_traceback(None)
            try:
                token = mint()
            except EltError as error:
                return self._kept(place, error)
            place.failed = None
            place.held = _Held(token.value, now + token.seconds * REFRESH_AT, now + token.seconds)
            return token.value

    def _kept(self, place: _Place, error: EltError) -> Secret:
        """Return the old token, for a while without another attempt to replace it; raise where it has ended."""
        with self._lock:
            now, held = time.monotonic(), place.held
            if held is None or now >= held.ends_at:
                place.failed, place.failed_until = error, now + FAILED_FOR
                raise error
            place.held = replace(held, refresh_at=now + (held.ends_at - now) * RETRY_AT)
        log.warning("No new token (%s); the old one does for %.0f s more.", error, held.ends_at - now)
        return held.value

    def forget(self, key: Hashable, value: Secret) -> None:
        """Drop a token that was refused, unless another has taken its place; never waits."""
        place = self._place(key)
        with self._lock:
            if place.held and place.held.value == value:
                place.held = None

    def _place(self, key: Hashable) -> _Place:
        with self._lock:
            return self._places.setdefault(key, _Place())


TOKENS: Final = TokenCache()
"""The process's cache."""


def jwt_seconds(token: str, default: float) -> float:
    """Return how long a JWT still lives (RFC 7519).

    That is ``exp`` less ``iat``, so that a skewed clock of ours does not matter, or less where by our clock it is
    older: a metadata server hands out the same token until shortly before its end.
    """
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        ends = float(claims["exp"])
        whole, left = ends - float(claims["iat"]), ends - time.time()
        return max(0.0, min(whole, left) if left > 0 else whole)
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return default
