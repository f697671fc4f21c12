"""From settings to a remote that can be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.auth import Guard, Minted, of_application
from airflow_elt_provider.remotes.flow import Answer, Flow, Request, run
from airflow_elt_provider.remotes.iap import mint_for
from airflow_elt_provider.remotes.session import Budget, Session
from airflow_elt_provider.remotes.settings import RemoteSettings
from airflow_elt_provider.remotes.tokens import Token
from airflow_elt_provider.remotes.transports import RequestsTransport

_T = TypeVar("_T")
TokenFlow = Callable[[RemoteSettings, Session], Flow[Token]]


def open_session(settings: RemoteSettings, *, token: TokenFlow | None = None, budget: Budget | None = None) -> Session:
    """Return a session that shows every guard on the way what it wants.

    :param token: how the application exchanges client id and secret for a token.
    """
    before = _of_proxy(settings)

    def mint() -> Token:
        if token is None:
            raise ConfigurationError(
                f"Connection {settings.name!r} has auth='client_credentials', which this remote does not know.",
                hint="use basic",
            )
        return _alone(settings, token(settings, Session(settings, before)))

    return Session(settings, [*before, *of_application(settings, mint)], budget)


def _of_proxy(settings: RemoteSettings) -> list[Guard]:
    """Return what Identity-Aware Proxy is shown: not in ``Authorization`` where the application reads that itself."""
    if settings.iap is None:
        return []
    header = "Proxy-Authorization" if settings.needs_authorization else "Authorization"
    key = ("iap", settings.iap, settings.iap.audience or settings.origin)
    return [Minted(header, key, mint_for(settings, lambda request: _alone(settings, _asked(request))), proxy=True)]


def _asked(request: Request) -> Flow[Answer]:
    answer: Answer = yield request
    return answer


def _alone(settings: RemoteSettings, flow: Flow[_T]) -> _T:
    """Drive a flow here and now, with connections of its own: a mint runs in a thread of its own."""
    transport = RequestsTransport(settings)
    try:
        return run(flow, transport)
    finally:
        transport.close()
