"""An asyncio loop in a thread of its own, for the proxies.

One thread owns every socket of a proxy.  That is what makes a reset certain: `close()` on a socket that
another thread is reading from does nothing until that read returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

from servers.processes import ReservedPort, reusable_socket

if TYPE_CHECKING:
    from collections.abc import Coroutine

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, no time: close() sends RST instead of FIN
BUFFER = 1 << 20


class LoopbackServer:
    """A TCP server on a free loopback port; subclasses say how a connection is served."""

    def __init__(self) -> None:
        """Describe a server; `start()` or `with` opens its port."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._port = ReservedPort()
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port.number

    def start(self) -> None:
        """Open the port."""
        self._thread.start()
        self._run(self._listen())

    def close(self) -> None:
        """End every connection and give the port back."""
        if self._thread.is_alive():
            self._run(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        self._port.release()

    def __enter__(self) -> Self:
        """Open the port."""
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End every connection and give the port back."""
        self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    def _run(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._accepted, sock=reusable_socket(self.port), limit=BUFFER, backlog=128
        )

    async def _unlisten(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (
            OSError,
            EOFError,
            asyncio.CancelledError,
        ):  # one side is gone, or we are: this is the connection's own task
            pass
        finally:
            writer.close()

    async def _end(self) -> None:
        await self._unlisten()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a TCP reset, dropping what was not sent yet."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
