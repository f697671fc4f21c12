"""A merge where the instance has no transactions: statements that may be repeated, the receipt and checkpoint last.

What takes the place of a transaction:

* One load of a stream at a time holds a lease in the checkpoint's row. The lease only saves work; what protects is the
  number that comes with it, higher than all before. Each row keeps the number of the load that wrote it last
  (``_elt_seq``), and a load with a lower one, a twin that was thought dead, leaves it alone.
* The upsert is one statement. A load that died before its receipt is merged again, with the same effect.
* The receipt is written before the checkpoint moves. A load that died between them is merged: whoever comes next moves
  the checkpoint for it.

Readers may see a load's upsert before its soft deletes.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import psycopg2

from airflow_elt_provider.connectors.hologres.dialect import HologresDialect
from airflow_elt_provider.connectors.hologres.merge_sql import HologresSql
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.drift import SchemaChange
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.modes import DeleteMode
from airflow_elt_provider.core.publish import Publication, receipt_row
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.state import Session, read_receipt
from airflow_elt_provider.core.steps import Counts, MergePlan
from airflow_elt_provider.core.verification import Verification
from airflow_elt_provider.errors import ConfigurationError, TransientError

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 900
_NOBODY: Final = -1
_POLL_SECONDS: Final = 1.0


def roll_forward(session: Session, dialect: HologresDialect, stream: str) -> bool:
    """Move the checkpoint for a load that has its receipt and died before it could; True where one did."""
    for version, token, holder, _ in session.query(dialect.select_lease(stream), (stream,)):
        merged = read_receipt(session, dialect, holder) if holder else None
        if merged and merged.version == version + 1 and merged.position:
            position = json.dumps(merged.position.to_json(), ensure_ascii=False)
            values = (merged.version, merged.load_id, position, stream, version, token)
            return session.execute(dialect.move_guarded(stream), values) > 0
    return False


@dataclass(frozen=True)
class GuardedMerge:
    """One load's merge.

    :param types: column -> type of the target.
    :param key: primary key of the target.
    :param patience: seconds to wait for another load's lease.
    """

    session: Session
    dialect: HologresDialect
    load: Load
    types: Mapping[str, str]
    key: Sequence[str]
    changes: Sequence[SchemaChange]
    patience: float

    def run(self) -> Receipt:
        """Merge the load.

        :raises StaleLoadError: when the stream moved on since the load was extracted.
        :raises TransientError: when another load of the stream is being merged.
        :raises DataError: when a check, a guard or the schema says no.
        """
        self._refuse_other_key()
        token, planned = self._lease()
        try:
            receipt = self._merge(token, planned)
        except Exception:
            with suppress(psycopg2.Error):
                self.session.execute(self.dialect.end_lease(self._stream), (self._stream, token))
            raise
        # From here on the lease stays, whatever happens: by it others find the load whose checkpoint has to move.
        self.session.execute(self._insert_receipt(), receipt_row(receipt))
        self._finish(receipt, token)
        return receipt

    @property
    def _stream(self) -> str:
        return self.load.manifest.stream

    @cached_property
    def _verify(self) -> Verification:
        """The questions, once target and rows were put to the test; about the rows that can be taken."""
        sql = HologresSql(self.dialect, self.load, self.types)
        verify = Verification(self.session, self.dialect, self.load, sql, self.changes)
        verify.target()
        return verify.tested()

    @property
    def _sql(self) -> HologresSql:
        sql = self._verify.sql
        assert isinstance(sql, HologresSql)  # noqa: S101 - it was made so
        return sql

    @cached_property
    def _publication(self) -> Publication:
        return Publication(self.session, self.dialect, self.load, self.types, self.changes)

    def _refuse_other_key(self) -> None:
        wanted = self.load.manifest.schema.primary_key
        if set(self.key) != set(wanted):
            raise ConfigurationError(
                f"{self.load.target} has the primary key ({', '.join(self.key)}), the load ({', '.join(wanted)}): "
                "without transactions rows can only be merged by the target's own key.",
                hint="make the two the same, or use an instance with transactions (elt_transactions)",
            )

    # --- the lease ---

    def _lease(self) -> tuple[int, str]:
        """Take the lease and return its number, and what an earlier attempt of this load noted."""
        base, give_up, done = self.load.manifest.base_version, time.monotonic() + self.patience, _NOBODY
        take = self.dialect.take_lease(self._stream, at_version=base is not None)
        while True:
            at = () if base is None else (base,)
            bound = (self.load.load_id, LEASE_SECONDS, self._stream, self.load.load_id, done, *at)
            taken = self.session.execute(take, bound)
            version, token, holder, planned = self._row()
            if taken:
                return token, planned
            finished = roll_forward(self.session, self.dialect, self._stream)
            if base is not None and (version != base or finished):
                raise self._publication.stale()
            # The holder of a lease without a checkpoint to move may be done, too.
            done = token if read_receipt(self.session, self.dialect, holder) else _NOBODY
            if done == _NOBODY and time.monotonic() > give_up:
                raise TransientError(
                    f"{self._stream}: load {holder} is being merged, or died less than {LEASE_SECONDS} seconds ago.",
                    hint="try again",
                )
            if done == _NOBODY:
                time.sleep(_POLL_SECONDS)

    def _row(self) -> tuple[int, int, str, str]:
        version, token, holder, planned = self.session.query(self.dialect.select_lease(self._stream), (self._stream,))[
            0
        ]
        return int(version), int(token), str(holder), str(planned)

    # --- the rows ---

    def _merge(self, token: int, planned: str) -> Receipt:
        verify = self._verify
        plan = MergePlan(nulled=verify.nulled(), quarantined=verify.sql.refused.rows)
        counts = self._noted(planned) or self._counts(verify)
        note = json.dumps({"load_id": self.load.load_id, **counts._asdict()})
        self._expect_lease(self.session.execute(
            self.dialect.renew_lease(self._stream), (LEASE_SECONDS, note, self._stream, token)
        ))  # fmt: skip
        self._write(token)
        self._expect_lease(int(self._row()[1] == token))
        return self._publication.receipt(plan, counts)

    def _noted(self, planned: str) -> Counts | None:
        """Return the counts that an attempt noted before it died: its rows are no longer new."""
        note = json.loads(planned) if planned else {}
        if note.pop("load_id", None) != self.load.load_id:
            return None
        return Counts(**note)

    def _counts(self, verify: Verification) -> Counts:
        gone = 0
        if self._mirrors:
            if verify.number(self._sql.target_has_rows):
                verify.emptying()
            complete = self.load.manifest.complete
            gone = verify.difference().gone if complete else verify.number(self._sql.count_gone())
            verify.deletes(gone)
        new, changed = self.session.query(self._sql.count_effects())[0]
        return Counts(int(new), int(changed), gone)

    @property
    def _mirrors(self) -> bool:
        """Whether rows of the target may be marked as gone."""
        manifest = self.load.manifest
        return self.load.deletes is DeleteMode.SOFT and (manifest.complete or manifest.takes_away)

    def _write(self, token: int) -> None:
        for column, value in self.load.manifest.backfill.items():
            if column in self.types:
                self.session.execute(self._sql.backfill_at(column, token), (value,))
        for pair in self._sql.renamed:
            self.session.execute(self._sql.fill_renamed_at(*pair, token))
        if self._sql.upserts:
            self.session.execute(self._sql.upsert_at(token))
        if self._mirrors:
            self.session.execute(self._sql.mark_gone(token))

    def _insert_receipt(self) -> Sql:
        return Sql(f"{self.dialect.insert_receipt()} ON CONFLICT (load_id) DO NOTHING")

    def _finish(self, receipt: Receipt, token: int) -> None:
        manifest = self.load.manifest
        if receipt.version is None:
            self.session.execute(self.dialect.end_lease(self._stream), (self._stream, token))
            return
        position = json.dumps(manifest.next_position.to_json(), ensure_ascii=False)
        values = (receipt.version, manifest.load_id, position, self._stream, manifest.base_version, token)
        if self.session.execute(self.dialect.move_guarded(self._stream), values) != 1:
            log.warning("%s: load %s was overtaken after its receipt was written", self._stream, manifest.load_id)

    def _expect_lease(self, rows: int) -> None:
        if rows != 1:
            raise TransientError(
                f"{self._stream}: another load took over while load {self.load.load_id} was being merged.",
                hint="try again: a load that was overtaken is then found to be stale",
            )
