"""The account behind a fake Fivetran: how syncs begin and end, and what a test may do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.fivetran_model import Connection, Outcome, Quota, Sync, SyncState
from tests.fakes.fivetran_schemas import schema_config, source_of
from tests.fakes.fivetran_wire import RefusedError
from tests.fakes.fivetran_world import FivetranWorld, own_place

HOUR = 3600.0
DATABASE = {"host": "db.example", "port": 5432, "database": "rental", "user": "fivetran"}


class FivetranControl(FivetranWorld):
    """State and control; nothing starts by itself except what was rescheduled on a schedule of type auto.

    A sync ends `run_seconds` after its start with `outcome` (both as they are at its start), or, when that is None,
    only by `finish`, `fail`, `reschedule` or `pause`. What is due happens when the next request or control call comes,
    with the time at which it was due.
    """

    def __init__(self, *, calls_per_hour: int | None = None, **tls: Any) -> None:
        """Describe an account with one group."""
        super().__init__(**tls)
        self.run_seconds: float | None = None
        self.outcome: Outcome = "succeeded"
        self.interrupted: list[Sync] = []
        self.setup_tests_of: list[str] = []
        self.calls = Quota(calls_per_hour, HOUR)
        self.setup_test_quotas = [Quota(250, 60.0), Quota(2500, HOUR)]
        self.source_quotas = [Quota(500, 60.0), Quota(5000, HOUR)]
        self._syncs: dict[str, list[Sync]] = {}

    # --- what there is ---

    def add_connection(
        self,
        schema: str,
        service: str = "postgres",
        group_id: str | None = None,
        *,
        paused: bool = False,
        schedule_type: str = "auto",
        setup_state: str = "connected",
        tables: Mapping[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        **settings: Any,
    ) -> str:
        """Add a connection that never ran.

        `tables`: {schema: [tables] or {table: [columns]}}; `settings`: sync_frequency, networking_method, ...
        """
        tables = tables or {"public": ["customer", "payment"]}
        with self.lock:
            connection = Connection(
                id=self._new_id("connection"),
                schema=schema,
                service=service,
                group_id=group_id or self.group_id,
                created_at=self.clock(),
                paused=paused,
                schedule_type=schedule_type,
                setup_state=setup_state,
                sync_state="paused" if paused else "scheduled",
                source_works=setup_state == "connected",
                schemas=schema_config(tables),
                config={**DATABASE, **(config or {})},
            )
            if unknown := settings.keys() - connection.settings.keys():
                raise TypeError(f"a connection has no {sorted(unknown)}")
            connection.settings = {**connection.settings, **settings}
            self.sources[own_place(connection)] = source_of(tables)
            self.look_at_source(connection)
            self._enter(connection)
            return connection.id

    def wipe(self) -> None:
        """Empty the account, groups included; databases stay."""
        with self.lock:
            for connection in self.connections.values():
                if connection.sync:
                    self._end_sync(connection.sync, "stopped", self.clock())
            for things in (self.connections, self.agents, self.private_links, self.webhooks, self.groups):
                things.clear()

    # --- what others do, and what happens ---

    def begin(self, connection_id: str, by: str = "somebody", *, historical: bool = False) -> Sync:
        """Let somebody else, or the schedule, start a sync."""
        with self.lock:
            self.settle()
            return self._start_sync(self.connections[connection_id], by, self.clock(), historical=historical)

    def finish(self, connection_id: str) -> None:
        """End the running sync well."""
        with self.lock:
            self._end_sync(self._running(connection_id), "succeeded", self.clock())

    def fail(self, connection_id: str, code: str = "sync_failed", message: str = "The sync failed.") -> None:
        """End the running sync badly; a task for the user explains it."""
        with self.lock:
            self._end_sync(self._running(connection_id), "failed", self.clock(), code, message)

    def reschedule(self, connection_id: str, in_seconds: float) -> None:
        """Stop the running sync: the source's quota is used up. It runs again by itself unless scheduled manually."""
        with self.lock:
            sync, now = self._running(connection_id), self.clock()
            connection = self.connections[connection_id]
            self._end_sync(sync, "rescheduled", now)
            connection.sync_state, connection.rescheduled_for = "rescheduled", now + in_seconds
            if connection.schedule_type == "auto":
                self._later(now + in_seconds, lambda at: self._resume(connection, now + in_seconds, at))

    def pause(self, connection_id: str, *, paused: bool = True) -> None:
        """Pause, or wake; a running sync stops and no timestamp moves."""
        with self.lock:
            self.settle()
            self._pause(self.connections[connection_id], paused, self.clock())

    def break_setup(self, connection_id: str, message: str = "Invalid login credentials.") -> None:
        """Break the connection to the source: setup tests fail and syncs do not start until `repair` and a test."""
        with self.lock:
            self.settle()
            connection = self.connections[connection_id]
            connection.source_works, connection.setup_state = False, "broken"
            connection.tasks = [{"code": "reconnect", "message": message, "details": message}]

    def repair(self, connection_id: str) -> None:
        """Mend the source; the state stays broken until the setup tests run."""
        with self.lock:
            self.connections[connection_id].source_works = True

    def hold(self, connection_id: str, *, completable: bool = False) -> None:
        """Let a running sync be one that cannot be completed early: a re-sync is refused with 409."""
        with self.lock:
            self.connections[connection_id].completable = completable

    def set_sync_state(self, connection_id: str, word: str) -> None:
        """Show a state of your own, until the next sync begins or ends."""
        with self.lock:
            self.settle()
            self.connections[connection_id].sync_state = word

    def syncs(self, connection_id: str) -> list[Sync]:
        """Every start so far, oldest first, with who began it."""
        with self.lock:
            self.settle()
            return list(self._syncs[connection_id])

    # --- inside ---

    def _enter(self, connection: Connection) -> None:
        self.connections[connection.id] = connection
        self._syncs[connection.id] = []

    def take(self, quotas: Sequence[Quota], what: str) -> None:
        """Use one of each quota, or refuse."""
        for quota in quotas:
            wait = quota.take(self.clock())
            if wait is not None:
                message = f"Max {quota.limit} {what} allowed in {quota.seconds / 60:.0f} minutes"
                raise RefusedError(429, "TooManyRequests", message, wait)

    def _running(self, connection_id: str) -> Sync:
        self.settle()
        sync = self.connections[connection_id].sync
        if sync is None:
            raise LookupError(f"{connection_id} is not syncing")
        return sync

    def _start_sync(self, connection: Connection, by: str, at: float, *, historical: bool = False) -> Sync:
        if connection.sync:
            raise RuntimeError(f"{connection.id} is syncing")
        sync = Sync(connection.id, by, at, historical or connection.succeeded_at is None)
        self._syncs[connection.id].append(sync)
        connection.sync, connection.sync_state, connection.first_waits = sync, "syncing", False
        connection.rescheduled_for, connection.historical = None, sync.historical
        if self.run_seconds is not None:
            outcome = self.outcome
            self._later(at + self.run_seconds, lambda end: self._end_sync(sync, outcome, end))
        return sync

    def _end_sync(
        self, sync: Sync, state: SyncState, at: float, code: str = "sync_failed", message: str = "failed"
    ) -> None:
        if sync.state != "running":
            return
        connection = self.connections[sync.connection_id]
        sync.state, sync.ended, connection.sync = state, at, None
        connection.sync_state = "paused" if connection.paused else "scheduled"
        if state == "succeeded" and not connection.captured:
            self.look_at_source(connection)
        if state == "succeeded":
            connection.succeeded_at, connection.tasks, connection.historical = at, [], False
        elif state == "failed":
            connection.failed_at = at
            connection.tasks = [{"code": code, "message": message, "details": message}]

    def _resume(self, connection: Connection, planned: float, at: float) -> None:
        there = connection.id in self.connections
        if there and connection.rescheduled_for == planned and connection.setup_state == "connected":
            self._start_sync(connection, "schedule", at)

    def _pause(self, connection: Connection, paused: bool, at: float) -> None:
        if connection.sync and paused:
            self._end_sync(connection.sync, "stopped", at)
        connection.paused = paused
        if connection.sync is None:
            connection.sync_state, connection.rescheduled_for = "paused" if paused else "scheduled", None
        if connection.resync_waits and not paused:
            connection.resync_waits = False
            self._start_sync(connection, "resync", at, historical=True)
        self._start_first(connection, at)

    def _start_first(self, connection: Connection, at: float) -> None:
        """Begin the first sync of a connection that a call made, as soon as nothing holds it back."""
        ready = connection.setup_state == "connected" and not connection.paused and connection.sync is None
        if connection.first_waits and ready and connection.schedule_type == "auto":
            self._start_sync(connection, "schedule", at, historical=True)
