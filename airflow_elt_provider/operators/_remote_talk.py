"""A conversation with a remote from a task's own process, which a kill may end."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow_elt_provider.errors import TransientError

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.flow import Flow
    from airflow_elt_provider.remotes.model import Remote, Watch
    from airflow_elt_provider.remotes.transports import RequestsTransport

_T = TypeVar("_T")


@dataclass
class Talk:
    """A conversation with the remote from this process."""

    remote: Remote
    transport: RequestsTransport
    stopped: threading.Event

    def sleep(self, seconds: float) -> None:
        """Wait, unless told to stop."""
        if self.stopped.wait(seconds):
            raise TransientError("The task was told to stop.")

    def run(self, flow: Flow[_T]) -> _T:
        """Drive a flow."""
        from airflow_elt_provider.remotes.flow import run

        return run(flow, self.transport, self.sleep)


def just(watch: Watch | None) -> Flow[Watch | None]:
    """Return a watch, as a flow that asks nobody."""
    yield from ()
    return watch
