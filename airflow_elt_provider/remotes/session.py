"""Asks a remote: with the right headers, within its rate, and with one more attempt where a token was refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import EltError
from airflow_elt_provider.remotes.auth import Guard, is_from_iap
from airflow_elt_provider.remotes.flow import Answer, Flow, Pause, Request
from airflow_elt_provider.remotes.refusals import refusal
from airflow_elt_provider.remotes.settings import RemoteSettings

_UNAUTHORIZED = 401
_ERROR = 400
_SHORTEST = 4
"""Characters: what is shorter is no secret, and to strike it out would spoil the answer."""
_Shown: TypeAlias = Sequence[tuple[Guard, str, Secret]]


class Budget:
    """So many calls in so many seconds, spread evenly once the first of them are spent.

    :param burst: calls that need not wait.
    """

    def __init__(self, calls: int, seconds: float, burst: int) -> None:
        self._every, self._span = seconds / calls, seconds / calls * burst
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take one call; return the seconds to wait before it."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - self._span) + self._every
            return max(0.0, self._free_at - now)


class Session:
    """Asks one remote.

    :param guards: what is shown on the way, the outermost guard first.
    :param budget: the rate that the remote's account allows.
    """

    def __init__(self, settings: RemoteSettings, guards: Sequence[Guard] = (), budget: Budget | None = None) -> None:
        self.settings = settings
        self._guards = guards
        self._budget = budget

    def ask(self, request: Request) -> Flow[Answer]:
        """Ask, and return the application's answer, whatever its status says short of a refusal.

        :raises ConfigurationError: for a login page, a redirect, a refused token or refused credentials.
        :raises RateLimitedError: when the server asks for time.
        :raises TransientError: when there was no answer.
        """
        answer, shown = yield from self._once(request)
        if answer.status == _UNAUTHORIZED and _forget(shown, answer):
            answer, _ = yield from self._once(request)
        error = refusal(request, answer, self.settings)
        if error:
            raise error
        return answer

    def attempt(self, request: Request) -> Flow[Answer | EltError]:
        """Ask, and return the refusal instead of raising it."""
        try:
            return (yield from self.ask(request))
        except EltError as error:
            return error

    def _once(self, request: Request) -> Flow[tuple[Answer, _Shown]]:
        wait = self._budget.take() if self._budget else 0.0
        if wait > 0:
            yield Pause(wait)
        shown = yield from self._shown(request)
        answer: Answer = yield request.with_headers({name: value.reveal() for _, name, value in shown})
        return self._without_secrets(answer, shown, request.secrets), shown

    def _without_secrets(self, answer: Answer, shown: _Shown, sent: Sequence[Secret]) -> Answer:
        """Return an answer that repeats no secret of its request: messages show what a server says of an error."""
        if answer.status < _ERROR:
            return answer
        whole = [value.reveal() for value in (*(value for _, _, value in shown), *sent)]
        password = self.settings.password.reveal() if self.settings.password else ""
        plain = {*whole, *(value.partition(" ")[2] for value in whole), password}
        content = answer.content
        for text in sorted(plain | {json.dumps(text)[1:-1] for text in plain}, key=len, reverse=True):
            if len(text) >= _SHORTEST:
                content = content.replace(text.encode(), b"***")
        return replace(answer, content=content)

    def _shown(self, request: Request) -> Flow[_Shown]:
        """Return what this request shows to each guard on its way."""
        shown: list[tuple[Guard, str, Secret]] = []
        for guard in () if request.bare else self._guards:
            if guard.proxy or not request.plain:
                header = yield from guard.header()
                shown += [(guard, *header)] if header else []
        return shown


def _forget(shown: _Shown, answer: Answer) -> bool:
    """Drop the token of the one guard that refused it: this very token, others may hold a newer one by now."""
    refused = [(guard, value) for guard, _, value in shown if guard.proxy == is_from_iap(answer)]
    return any([guard.forget(value) for guard, value in refused])  # noqa: C419 - all of them, not up to the first
