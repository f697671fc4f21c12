"""Masks on everything that a source gives, between the source and the stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from airflow_elt_provider.core.buckets import BucketKind
from airflow_elt_provider.core.masking import Masks
from airflow_elt_provider.core.protocols import ChangeSet
from airflow_elt_provider.core.system_columns import EXACT


def masked(changes: ChangeSet, masks: Masks) -> ChangeSet:
    """Return the same changes with other values in masked columns: rows, keys and backfills alike."""
    if not masks:
        return changes
    _refuse_buckets(changes, masks)
    return replace(
        changes, schema=masks.schema(changes.schema), backfill=masks.backfill(changes.backfill),
        streams=_all(changes.streams, masks), deletes=_all(changes.deletes, masks), keys=_all(changes.keys, masks),
    )  # fmt: skip


def _refuse_buckets(changes: ChangeSet, masks: Masks) -> None:
    buckets = changes.buckets
    told_by = set(buckets.columns) if buckets and buckets.kind is not BucketKind.ALL else set()
    hidden = sorted(told_by & set(masks.names.values()))
    if hidden:
        # The source's fault, not a user's: buckets of masked keys have to be of kind "all".
        raise AssertionError(f"buckets by the masked column {hidden[0]!r}")


def _all(streams: Sequence[Iterator[pa.RecordBatch]], masks: Masks) -> list[Iterator[pa.RecordBatch]]:
    return [_each(stream, masks) for stream in streams]


def _each(batches: Iterator[pa.RecordBatch], masks: Masks) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield mask_batch(batch, masks)


def mask_batch(batch: pa.RecordBatch, masks: Masks) -> pa.RecordBatch:
    """Return a batch with other values in masked columns, which have to arrive as texts."""
    arrays: list[pa.Array[Any]] = list(batch.columns)
    names = batch.schema.names
    for source, target in masks.names.items():
        if target not in names:
            continue
        at = names.index(target)
        if not pa.types.is_string(arrays[at].type):
            raise AssertionError(f"masked column {target!r} arrived as {arrays[at].type}")
        arrays[at] = masks.texts(source, arrays[at])
    if EXACT in names:
        at = names.index(EXACT)
        arrays[at] = _without_exact(arrays[at], masks)
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _without_exact(texts: pa.Array[Any], masks: Masks) -> pa.Array[Any]:
    """Take masked columns out of the exceptional values, of which few rows have any."""
    if texts.null_count == len(texts):
        return texts
    hidden = set(masks.names.values())
    return pa.array([_kept(text, hidden) for text in texts.to_pylist()], pa.string())


def _kept(text: str | None, hidden: set[str]) -> str | None:
    if text is None:
        return None
    values = {name: value for name, value in json.loads(text).items() if name not in hidden}
    return json.dumps(values, ensure_ascii=False) if values else None
