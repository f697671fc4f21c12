"""Short-lived tokens, kept in this process's memory only: one mint at a time for each credential and audience."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import EltError

log = logging.getLogger(__name__)

REFRESH_AT: Final = 0.8
"""The part of its life after which a token is replaced, long before it ends."""


@dataclass(frozen=True)
class Token:
    """What a mint returns.

    :param seconds: how long it lives from now on, by the issuer's own reckoning.
    """

    value: Secret
    seconds: float


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: Secret | None = None
    refresh_at: float = 0.0
    ends_at: float = 0.0


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
        if now < place.refresh_at or (now < place.ends_at and place.lock.locked()):
            return place.value
        return None

    def get(self, key: Hashable, mint: Callable[[], Token]) -> Secret:
        """Return a token, minting it where there is none or it nears its end; blocks.

        :raises EltError: whatever ``mint`` raises, unless the old token still does.
        """
        place = self._place(key)
        with place.lock:
            now = time.monotonic()
            if place.value is not None and now < place.refresh_at:
                return place.value
            try:
                token = mint()
            except EltError as error:
                if place.value is None or time.monotonic() >= place.ends_at:
                    raise
                log.warning("No new token (%s); the old one does for %.0f s more.", error, place.ends_at - now)
                return place.value
            place.value = token.value
            place.refresh_at, place.ends_at = now + token.seconds * REFRESH_AT, now + token.seconds
            return place.value

    def forget(self, key: Hashable, value: Secret) -> None:
        """Drop a token that was refused, unless another has taken its place."""
        place = self._place(key)
        with place.lock:
            if place.value == value:
                place.value, place.refresh_at, place.ends_at = None, 0.0, 0.0

    def _place(self, key: Hashable) -> _Place:
        with self._lock:
            return self._places.setdefault(key, _Place())


TOKENS: Final = TokenCache()
"""The process's cache."""


def jwt_seconds(token: str, default: float) -> float:
    """Return how long a JWT lives, ``exp`` less ``iat`` (RFC 7519), so that a skewed clock of ours does not matter."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return max(0.0, float(claims["exp"]) - float(claims["iat"]))
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return default
