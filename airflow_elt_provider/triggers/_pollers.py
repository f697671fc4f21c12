"""The pollers of this triggerer: one for each server and credential in an event loop."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.model import Remote
    from airflow_elt_provider.remotes.poller import Poller
    from airflow_elt_provider.remotes.settings import RemoteSettings

_FRESH_SECONDS: Final = 60.0
"""After which an edited connection counts: reading one costs some 20 ms, ten thousand of them minutes."""
_FAILED_SECONDS: Final = 2.0
"""After which a connection that could not be read is read again, once for all who want it."""


@dataclass
class _Pollers:
    """Of one event loop."""

    by_conn_id: dict[str, asyncio.Future[Poller]] = field(default_factory=dict)
    read_at: dict[str, float] = field(default_factory=dict)
    by_server: dict[tuple[str, RemoteSettings], Poller] = field(default_factory=dict)


_LOOPS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Pollers]] = WeakKeyDictionary()


async def poller_of(conn_id: str) -> Poller:
    """Return the poller of a connection; connections that lead to the same place share one.

    :raises ConfigurationError: for a connection that is missing or cannot be meant.
    """
    pollers = _LOOPS.setdefault(asyncio.get_running_loop(), _Pollers())
    now, known = time.monotonic(), pollers.by_conn_id.get(conn_id)
    if known is None or _is_stale(known, now - pollers.read_at[conn_id]):
        known = asyncio.ensure_future(_opened(conn_id, pollers))
        pollers.by_conn_id[conn_id] = known
        pollers.read_at[conn_id] = now
    return await asyncio.shield(known)


def _is_stale(known: asyncio.Future[Poller], age: float) -> bool:
    if not known.done():
        return False
    failed = known.cancelled() or known.exception() is not None
    return age > (_FAILED_SECONDS if failed else _FRESH_SECONDS)


async def _opened(conn_id: str, pollers: _Pollers) -> Poller:
    from airflow_elt_provider.remotes.poller import Poller
    from airflow_elt_provider.remotes.transports import HttpxTransport, tls_context

    # In a thread: Airflow answers synchronously, and reading certificates takes 70 ms of CPU.
    remote = await asyncio.to_thread(_remote, conn_id)
    settings = remote.session.settings
    key = (remote.name, settings)
    if key not in pollers.by_server:
        context = await asyncio.to_thread(tls_context, settings)
        if key not in pollers.by_server:
            pollers.by_server[key] = Poller(remote, HttpxTransport(settings, context))
    return pollers.by_server[key]


def _remote(conn_id: str) -> Remote:
    from airflow_elt_provider.hooks.remotes import remote_hook

    return remote_hook(conn_id).get_remote()
