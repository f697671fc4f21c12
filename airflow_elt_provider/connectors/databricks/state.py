"""What a stream's own table says: where it stands, which load has claimed it, and the last load's receipt.

One row, changed by nothing but compare-and-set: every change counts the epoch up and names the epoch that it saw, and
Delta lets only one of two such commits through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from airflow_elt_provider.connectors.databricks.dialect import DatabricksDialect
from airflow_elt_provider.connectors.databricks.names import literal
from airflow_elt_provider.connectors.databricks.session import DatabricksSession, MissingError
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.publish import receipt_row
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.core.state import read_receipts
from airflow_elt_provider.core.table_ref import TableRef

_STAMP: Final = "timestamp"


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A claim: the load that may write to the target now.

    :param nonce: of the attempt.
    :param target: the target's name in full, part by part.
    :param appends: whether its rows bear its id, so that they can be found in the target.
    :param receipt: what its receipt will say; None while its questions are not answered.
    :param version: the target's Delta version before its rows came; None where the counts are known without.
    """

    load_id: str
    nonce: str
    run_key: str
    target: tuple[str, ...]
    appends: bool = False
    receipt: Receipt | None = None
    version: int | None = None

    @classmethod
    def of(cls, load: Load, target: TableRef, *, appends: bool) -> Pending:
        """Return the claim of one attempt."""
        manifest = load.manifest
        return cls(
            load_id=load.load_id, nonce=load.nonce, run_key=manifest.run_key, target=target.parts, appends=appends
        )

    def to_json(self) -> str:
        """Return the text that :meth:`from_json` reads."""
        value = {**asdict(self), "receipt": self.receipt.to_json() if self.receipt else None}
        return json.dumps(value, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Pending:
        """Read what :meth:`to_json` wrote."""
        value = json.loads(text)
        receipt = Receipt.from_json(value["receipt"]) if value["receipt"] else None
        return cls(**{**value, "target": tuple(value["target"]), "receipt": receipt})


@dataclass(frozen=True)
class StreamRow:
    """The row.

    :param receipt: of the last load that was merged.
    :param receipted: whether that one is among the receipts.
    :param age: seconds since the row was written.
    """

    epoch: int
    version: int
    pending: Pending | None
    receipt: Receipt | None
    receipted: bool
    age: float


@dataclass(frozen=True)
class StreamState:
    """One stream's row, and what changes it."""

    session: DatabricksSession
    stream: str

    @property
    def _dialect(self) -> DatabricksDialect:
        return self.session.dialect

    @property
    def _table(self) -> Sql:
        return self._dialect.checkpoints(self.stream)

    # --- reading ---

    def read(self) -> StreamRow | None:
        """Return the row; None while the stream has none."""
        sql = (
            "SELECT _elt_c.epoch, _elt_c.version, _elt_c.pending, _elt_c.receipt, _elt_r.load_id IS NOT NULL, "
            "unix_timestamp(current_timestamp()) - unix_timestamp(_elt_c.updated_at) "
            f"FROM {self._table} _elt_c LEFT JOIN (SELECT DISTINCT load_id FROM {self._dialect.state('receipts')}) "
            "_elt_r ON _elt_r.load_id = _elt_c.last_load WHERE _elt_c.stream = ?"
        )
        try:
            rows = self.session.query(sql, (self.stream,))
        except MissingError:
            return None
        for epoch, version, pending, receipt, receipted, age in rows:
            return StreamRow(
                int(epoch), int(version), Pending.from_json(pending) if pending else None,
                Receipt.from_json(json.loads(receipt)) if receipt else None, bool(receipted), float(age),
            )  # fmt: skip
        return None

    def receipts(self, run_key: str | None) -> list[Receipt]:
        """Return the stream's receipts, oldest first: the last one may not be among the others yet."""
        found = {each.load_id: each for each in read_receipts(self.session, self._dialect, self.stream, run_key)}
        last = self.last()
        if last and run_key in {None, last.run_key}:
            found.setdefault(last.load_id, last)
        return list(found.values())

    def last(self) -> Receipt | None:
        """Return the receipt of the last load that was merged."""
        try:
            rows = self.session.query(f"SELECT receipt FROM {self._table} WHERE stream = ?", (self.stream,))
        except MissingError:
            return None
        return Receipt.from_json(json.loads(rows[0][0])) if rows and rows[0][0] else None

    # --- changing ---

    def claim(self, row: StreamRow, pending: Pending) -> StreamRow | None:
        """Let an attempt have the stream; None when the row is not what it was."""
        if self._move(row, {"pending": pending.to_json()}):
            return replace(row, epoch=row.epoch + 1, pending=pending, age=0.0)
        # The answer may be that of a second sending, which changed nothing: the row itself is asked.
        now = self.read()
        mine = now and now.epoch == row.epoch + 1 and now.pending and now.pending.nonce == pending.nonce
        return now if mine else None

    def finish(self, row: StreamRow, receipt: Receipt, *, by: str) -> bool:
        """Move the checkpoint, write the receipt and give the claim back, in one commit: the load counts from here.

        :param by: load id and nonce of the attempt, for the answer to be told from that of another one.
        """
        moved: dict[str, Any] = {"pending": None, "last_load": receipt.load_id, "finished_by": by}
        moved["receipt"] = json.dumps(receipt.to_json(), ensure_ascii=False)
        if receipt.version is not None and receipt.position is not None:
            moved |= {"version": receipt.version, "load_id": receipt.load_id}
            moved["position"] = json.dumps(receipt.position.to_json(), ensure_ascii=False)
        if self._move(row, moved, commit=True):
            return True
        # As with claims; another load may have claimed the stream since.
        found = self.session.query(f"SELECT finished_by FROM {self._table} WHERE stream = ?", (self.stream,))
        return bool(found) and found[0][0] == by

    def release(self, row: StreamRow) -> None:
        """Give a claim back; nothing was merged."""
        self._move(row, {"pending": None})

    def forget(self, row: StreamRow) -> bool:
        """Take the position out, and make every load from before stale."""
        return self._move(row, {"version": row.version + 1, "position": "null", "pending": None}) > 0

    def settle(self, receipt: Receipt) -> None:
        """Add a receipt to the others. Twice does no harm: readers go by the load's id."""
        self.session.execute(self._dialect.insert_receipt(), receipt_row(receipt))

    def _move(self, row: StreamRow, values: Mapping[str, Any], *, commit: bool = False) -> int:
        sets = [f"{name} = NULL" if value is None else f"{name} = ?" for name, value in values.items()]
        bound = [value for value in values.values() if value is not None]
        sql = Sql(
            f"UPDATE {self._table} SET epoch = {row.epoch + 1}, {', '.join(sets)}, updated_at = {self._dialect.now} "
            f"WHERE stream = ? AND epoch = {row.epoch}"
        )
        write = self.session.commit if commit else self.session.execute
        return write(sql, (*bound, self.stream))


def create_statements(dialect: DatabricksDialect, stream: str, present: Sequence[str]) -> tuple[Sql, ...]:
    """Return the DDL of those of our tables that are not there yet; a stream's own is made with its row in it."""
    text = "string"
    receipts = (
        f"load_id {text}, run_key {text}, stream {text}, version bigint, extracted bigint, inserted bigint, "
        f"updated bigint, deleted bigint, receipt {text}, committed_at {_STAMP}"
    )
    staging = f"staging_table {text}, load_id {text}, stream {text}, rows bigint, created_at {_STAMP}"
    wanted = {
        "receipts": f"({receipts}) USING DELTA",
        "staging": f"({staging}) USING DELTA",
        dialect.checkpoints_name(stream): f"USING DELTA AS {_seed(stream)}",
    }
    create = "CREATE TABLE IF NOT EXISTS"
    missing = {name: f"{create} {dialect.state(name)} {rest}" for name, rest in wanted.items()}
    missing["sync_log"] = dialect.sync_log()
    return tuple(Sql(sql) for name, sql in missing.items() if name not in present)


def _seed(stream: str) -> str:
    nothing = {"load_id": "''", "position": "'null'", "pending": None, "last_load": None, "receipt": None}
    texts = ", ".join(
        f"CAST({value or 'NULL'} AS string) AS {name}" for name, value in {**nothing, "finished_by": None}.items()
    )
    numbers = "CAST(0 AS bigint) AS epoch, CAST(0 AS bigint) AS version"
    return f"SELECT {literal(stream)} AS stream, {numbers}, {texts}, current_timestamp() AS updated_at"
