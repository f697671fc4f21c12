"""The loads of one stream that want to merge: each waits for the one before it, and takes the place of one that died.

A statement of the dead load that begins later fails at its fence. One that runs already is stopped by a change of the
target's properties: Delta refuses every write that began before one. What remains is a statement that the warehouse has
planned and not begun; it is waited for. Then the dead load's rows are in the target as a whole, or will never be:

* The same load does it all again; every write may be repeated.
* Another load finishes it first where its rows were appended: they bear its id, so it can be seen that they came, and
  all that is missing is the last step. The other load is then stale and extracts anew.
* Rows of ``merge`` and ``replace`` are written over: a load from the same checkpoint holds them, or newer ones, again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Final

from databricks.sql import exc
from urllib3.exceptions import HTTPError

from airflow_elt_provider.connectors.databricks.names import literal
from airflow_elt_provider.connectors.databricks.session import MissingError, Warehouse
from airflow_elt_provider.connectors.databricks.state import Pending, StreamRow, StreamState
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.system_columns import LOAD_ID
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import TransientError

log = logging.getLogger(__name__)

FENCE_PROPERTY: Final = "elt.fence"
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0


class MovedError(Exception):
    """The stream's row is not what it was: begin again."""


@dataclass(frozen=True)
class Line:
    """Those who wait for a stream."""

    warehouse: Warehouse
    state: StreamState

    def free(self, own: str = "") -> StreamRow:
        """Return the row once it is free, or its claim is that of a dead load.

        :param own: a load, or the key of a run, whose claims are dead: Airflow runs one attempt of a task at a time.
            "" for none.
        :raises TransientError: when that takes too long.
        """
        wait, until, said = _FIRST_WAIT, time.monotonic() + 2 * self._patience + _LONGEST_WAIT, False
        while True:
            row = self.state.read()
            if row is None:
                raise TransientError(f"The checkpoint of {self.state.stream} is gone.", hint="let the task retry")
            claim = row.pending
            if claim is None or own in {claim.run_key, claim.load_id} or row.age > self._patience:
                return row
            if time.monotonic() > until or self.warehouse.cancelled.is_set():
                raise TransientError(
                    f"Load {claim.load_id} of {self.state.stream} is still being merged.",
                    hint="let the task retry; see what that load is waiting for",
                )
            if not said:
                log.info("%s: waiting for load %s, which is being merged", self.state.stream, claim.load_id)
                said = True
            time.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)

    @property
    def _patience(self) -> float:
        return self.warehouse.settings.claim_seconds


@dataclass(frozen=True)
class TakeOver:
    """What happens before a dead load's claim is another one's."""

    warehouse: Warehouse
    state: StreamState

    def of(self, row: StreamRow, mine: Pending) -> StreamRow:
        """Return the row with the claim taken over, the last owner of which can do nothing any more.

        :raises MovedError: when somebody else was first, or the dead load was finished.
        """
        dead = row.pending
        if dead is None:
            return row
        log.warning("%s: load %s did not come to its end; taking over", self.state.stream, dead.load_id)
        # What the claim says stays until it is clear what became of the load: who takes over may die, too.
        taken = self.state.claim(row, replace(dead, nonce=mine.nonce))
        if taken is None:
            raise MovedError
        time.sleep(self.warehouse.settings.takeover_pause)
        self._stop_writes(TableRef(dead.target), mine.nonce)
        if dead.load_id != mine.load_id and dead.appends and dead.receipt and self._came(dead):
            log.warning("%s: load %s was merged but for its receipt; finishing it", self.state.stream, dead.load_id)
            self.state.finish(taken, dead.receipt, by=f"{dead.load_id}/{mine.nonce}")
            raise MovedError
        return taken

    def give_back(self, row: StreamRow) -> None:
        """Free the stream after a write that failed, so that other loads need not wait until its claim is old.

        Not where rows came all the same: an error may come after the commit. The next attempt sorts that out.
        """
        claim = row.pending
        if claim is None:
            return
        try:
            self._stop_writes(TableRef(claim.target), claim.nonce)
            if not (claim.appends and self._came(claim)):
                self.state.release(row)
        except (exc.Error, HTTPError) as error:
            log.info("%s: the claim stays (%s)", self.state.stream, error)

    def _stop_writes(self, target: TableRef, nonce: str) -> None:
        try:
            self.state.session.execute(self.state.session.dialect.set_property(target, FENCE_PROPERTY, nonce))
        except MissingError:
            log.info("%s is gone", target)

    def _came(self, dead: Pending) -> bool:
        dialect = self.state.session.dialect
        rows = f"{dialect.table(TableRef(dead.target))} WHERE {dialect.quote(LOAD_ID)} = {literal(dead.load_id)}"
        try:
            return bool(self.state.session.query(Sql(f"SELECT 1 FROM {rows} LIMIT 1")))
        except MissingError:
            return False
