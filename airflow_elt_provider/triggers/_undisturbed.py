"""Work that a trigger does at its end, although Airflow goes on cancelling it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

_UNDER_WAY: Final[set[asyncio.Task[None]]] = set()
"""An event loop by itself remembers its tasks only weakly."""


async def undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Do work to its end.

    Airflow (2.11 to 3.3) cancels a trigger that is to go once a second until it is gone. So the second request hits
    ``on_kill`` itself, a second after it began, and a third one gives it up: then the work goes on by itself. Only the
    end of the event loop ends it.
    """
    task = asyncio.ensure_future(work)
    _UNDER_WAY.add(task)
    task.add_done_callback(_UNDER_WAY.discard)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
