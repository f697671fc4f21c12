"""Waits for a service of Amazon ECS in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_elt_provider.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from airflow_elt_provider.hooks.ecs import EcsService

log = logging.getLogger(__name__)


class EcsServiceTrigger(BaseTrigger):
    """Fires when a service runs as many tasks as are wanted, when ECS gave up, or when the time is over.

    The event is ``{"status": "stable" | "failed" | "timeout", "state": {...}, "told"}``, or ``{"status": "error",
    "message", "told"}`` when the service cannot be looked at. Its arguments hold no secret. boto3 is synchronous, so
    each look is made in a thread; the event loop waits for nothing.

    :param deadline: when to give up, in seconds since 1970.
    :param told: what the task wants to hear again in the event.
    """

    def __init__(
        self,
        cluster: str,
        service: str,
        desired_count: int,
        deadline: float,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        poll_interval: float = 15.0,
        told: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.cluster = cluster
        self.service = service
        self.desired_count = desired_count
        self.deadline = deadline
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_interval = poll_interval
        self.told = told

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores."""
        names = (
            "cluster", "service", "desired_count", "deadline", "aws_conn_id", "region_name", "poll_interval", "told",
        )  # fmt: skip
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        try:
            event = await self._event()
        except ConfigurationError as error:
            event = {"status": "error", "message": str(error)}
        yield TriggerEvent({**event, "told": self.told})

    async def _event(self) -> dict[str, Any]:
        from airflow_elt_provider.hooks.ecs import EltEcsHook

        hook = EltEcsHook(self.aws_conn_id, self.region_name)
        service = await asyncio.to_thread(hook.get_service, self.cluster, self.service)
        while True:
            event = await asyncio.to_thread(self._looked, service)
            if event:
                return event
            await asyncio.sleep(max(0.0, min(self.poll_interval, self.deadline - time.time())))

    def _looked(self, service: EcsService) -> dict[str, Any] | None:
        """Look once; None: look again."""
        is_over = time.time() >= self.deadline
        try:
            state = service.look()
        except TransientError as error:
            log.warning("%s Looking again.", error)
            return {"status": "timeout", "state": None} if is_over else None
        log.info("%s: %s", service, state)
        status = state.verdict(self.desired_count) or ("timeout" if is_over else None)
        return {"status": status, "state": state.to_json()} if status else None
