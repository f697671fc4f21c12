"""The headers that open doors: one provider for each guard on the way to the application."""

from __future__ import annotations

import base64
from collections.abc import Callable, Hashable
from typing import Final, Protocol

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.remotes.flow import Answer, Call, Flow
from airflow_elt_provider.remotes.settings import RemoteSettings
from airflow_elt_provider.remotes.tokens import TOKENS, Token

IAP_ANSWER: Final = "x-goog-iap-generated-response"
"""The header of what IAP answers itself; what the application answers lacks it."""

_BEARER: Final = "Bearer "


class Guard(Protocol):
    """One guard, and what it is shown."""

    proxy: bool
    """Whether it stands before the application, and so is shown its header by every request."""

    def header(self) -> Flow[tuple[str, Secret] | None]:
        """Return name and value of the header; None for no header."""

    def forget(self, shown: Secret) -> bool:
        """Drop what was refused: the header's value. Return whether another attempt may go better."""


class Fixed:
    """A header that never changes."""

    def __init__(self, name: str, value: Secret, *, proxy: bool = False) -> None:
        self.proxy = proxy
        self._shown = (name, value)

    def header(self) -> Flow[tuple[str, Secret] | None]:
        yield from ()
        return self._shown

    def forget(self, shown: Secret) -> bool:  # noqa: ARG002 - there is no other
        return False


class Minted:
    """A bearer token that is minted, kept for its life, and minted anew when it was refused.

    :param mint: returns a token; blocks; is called once at a time for each key.
    """

    def __init__(self, name: str, key: Hashable, mint: Callable[[], Token], *, proxy: bool) -> None:
        self.proxy = proxy
        self._name, self._key, self._mint = name, key, mint

    def header(self) -> Flow[tuple[str, Secret] | None]:
        found = TOKENS.peek(self._key)
        if found is None:
            found = yield Call(lambda: TOKENS.get(self._key, self._mint))
        return self._name, Secret(f"{_BEARER}{found.reveal()}")

    def forget(self, shown: Secret) -> bool:
        TOKENS.forget(self._key, Secret(shown.reveal().removeprefix(_BEARER)))
        return True


def of_application(settings: RemoteSettings, mint: Callable[[], Token]) -> list[Guard]:
    """Return what the application itself is shown.

    :param mint: exchanges client id and secret for a token.
    """
    guards: list[Guard] = [Fixed(name, value) for name, value in settings.headers.items()]
    password = settings.password.reveal() if settings.password else ""
    if settings.auth == "basic":
        pair = base64.b64encode(f"{settings.user}:{password}".encode()).decode()
        guards.append(Fixed("Authorization", Secret(f"Basic {pair}")))
    elif settings.auth == "bearer":
        guards.append(Fixed("Authorization", Secret(f"Bearer {password}")))
    elif settings.auth == "client_credentials":
        key = ("client_credentials", settings.base_url, settings.user, settings.password)
        guards.append(Minted("Authorization", key, mint, proxy=False))
    return guards


def is_from_iap(answer: Answer) -> bool:
    """Say whether IAP answered, and not the application behind it."""
    return answer.headers.get(IAP_ANSWER, "").lower() == "true"
