"""Checkpoints and receipts, read inside a transaction of the destination that keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from airflow_elt_provider.core.checkpoint import Checkpoint, Position
from airflow_elt_provider.core.dialect import Dialect, Sql
from airflow_elt_provider.core.receipt import Receipt


class Session(Protocol):
    """An open transaction."""

    def execute(self, sql: Sql, params: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""

    def query(self, sql: Sql, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows (few)."""


def read_receipt(session: Session, dialect: Dialect, load_id: str) -> Receipt | None:
    """Return the receipt of a load, if it was merged."""
    rows = session.query(dialect.select_receipt(), (load_id,))
    return _receipt(*rows[0]) if rows else None


def read_receipts(session: Session, dialect: Dialect, stream: str, run_key: str | None = None) -> list[Receipt]:
    """Return the receipts of a stream, of one run where ``run_key`` is given; oldest first."""
    bound = (stream,) if run_key is None else (stream, run_key)
    rows = session.query(dialect.select_receipts(of_run=run_key is not None), bound)
    return [_receipt(*row) for row in rows]


def _receipt(text: str, inserted: int, updated: int, deleted: int) -> Receipt:
    # The columns count: a script that merges and writes its receipt in one go knows no counts while it is written.
    counts = {"inserted": int(inserted), "updated": int(updated), "deleted": int(deleted)}
    return Receipt.from_json({**json.loads(text), **counts})


def read_checkpoint(session: Session, dialect: Dialect, stream: str) -> Checkpoint | None:
    """Return a stream's checkpoint, if it has one."""
    for name, version, load_id, position in session.query(dialect.select_checkpoint(stream), (stream,)):
        known = json.loads(position)
        if version:  # a seed is none yet
            return Checkpoint(name, int(version), load_id, Position.from_json(known) if known else None)
    return None
