"""From a remote to its configuration, and what drives the conversation."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.config_as_code.server import ConfigServer
from airflow_elt_provider.remotes.flow import Flow, arun
from airflow_elt_provider.remotes.model import Remote
from airflow_elt_provider.remotes.settings import RemoteSettings
from airflow_elt_provider.remotes.transports import HttpxTransport, tls_context

_SERVERS: Final = {
    "airbyte": ("airbyte.configuration", "AirbyteConfiguration"),
    "fivetran": ("fivetran.configuration", "FivetranConfiguration"),
    "digdag": ("digdag.configuration", "DigdagConfiguration"),
}


def config_server(remote: Remote) -> ConfigServer:
    """Return the configuration of a remote.

    :raises ConfigurationError: for a remote that has none that can be read.
    """
    if remote.name not in _SERVERS:
        raise ConfigurationError(f"The configuration of {remote.name!r} cannot be read.", hint="use its own tools")
    module, name = _SERVERS[remote.name]
    made: ConfigServer = getattr(import_module(f"{__package__}.{module}"), name)(remote)
    return made


class Driver:
    """Drives flows of one server from a thread without an event loop, many requests at once; may be stopped."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings, self._tls = settings, tls_context(settings)
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._stopped = False

    def __call__(self, flow: Flow[Any]) -> Any:
        """Drive a flow to its end and return its outcome.

        :raises TransientError: when it was stopped; the last request may have arrived.
        """
        return asyncio.run(self._driven(flow))

    def stop(self) -> None:
        """End what is driven now, and drive nothing more; from any thread, as often as one likes."""
        self._stopped = True
        if running := self._running:
            with suppress(RuntimeError):  # the loop has closed meanwhile
                running[0].call_soon_threadsafe(running[1].cancel)

    async def _driven(self, flow: Flow[Any]) -> Any:
        task = asyncio.current_task()
        self._running = (asyncio.get_running_loop(), task) if task else None
        transport = HttpxTransport(self._settings, self._tls)
        try:
            if self._stopped and task:
                task.cancel()
            return await arun(flow, transport)
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            raise TransientError("The conversation was told to stop.") from None
        finally:
            self._running = None
            await transport.aclose()


def driver(settings: RemoteSettings) -> Driver:
    """Return what drives flows of this server."""
    return Driver(settings)
