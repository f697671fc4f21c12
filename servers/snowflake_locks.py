"""Locks of tables, as Snowflake has them: UPDATE, DELETE and MERGE of one table wait for each other.

The emulator lacks them: there the second of two writers fails.  Part of `snowflake_launch.py`, in its environment.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

IDLE_SECONDS: Final = 1.5
"""Snowflake ends a transaction that others wait for once it has been idle for five minutes; tests have less time."""


_transactions = itertools.count(1_700_000_000_000)


class LockTimeoutError(Exception):
    """Nobody let go of the table in time."""


@dataclass(eq=False)
class Session:
    """What is known of one client session.

    `begun`: it has a transaction, of number `transaction`.  `writing`: DuckDB has one for it, which holds its writes.
    `silent`: it is not told when its transaction was ended; its next statement runs as if there had been none.
    """

    connection: Any
    number: int
    tag: str = ""
    begun: bool = False
    transaction: int | None = None
    autocommit: bool = True
    silent: bool = False
    writing: bool = False
    aborted: bool = False
    running: int = 0
    active: float = field(default_factory=time.monotonic)
    locks: set[str] = field(default_factory=set)

    def idle(self) -> bool:
        """Whether its client has let it wait for too long."""
        return not self.running and time.monotonic() - self.active > IDLE_SECONDS

    def begin(self) -> None:
        """Begin a transaction, if it has none."""
        if not self.begun:
            self.begun, self.transaction = True, next(_transactions)

    def end(self, *, commit: bool) -> None:
        """End its transaction."""
        if self.writing:
            duck = self.connection._duck_conn  # noqa: SLF001 - the emulator's
            duck.commit() if commit else duck.rollback()
        self.begun = self.writing = False
        self.transaction = None


class TableLocks:
    """Who holds which table."""

    def __init__(self) -> None:
        self._holders: dict[str, Session] = {}
        self._changed = threading.Condition()

    def take(self, table: str, session: Session, seconds: float) -> None:
        """Wait for a table and take it.

        :raises LockTimeoutError: when it was not free in time.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while (holder := self._holders.get(table)) not in {None, session}:
                assert holder
                if holder.idle():
                    self._abort(holder)
                    continue
                if time.monotonic() > deadline:
                    raise LockTimeoutError(table)
                self._changed.wait(0.05)
            self._holders[table] = session
            session.locks.add(table)

    def release(self, session: Session) -> None:
        """Let go of everything that a session holds."""
        with self._changed:
            for table in session.locks:
                self._holders.pop(table, None)
            session.locks.clear()
            self._changed.notify_all()

    def _abort(self, holder: Session) -> None:
        holder.end(commit=False)
        holder.aborted = not holder.silent
        for table in holder.locks:
            self._holders.pop(table, None)
        holder.locks.clear()
