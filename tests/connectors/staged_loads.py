"""Loads made by hand: Parquet files and a manifest, without any source."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_elt_provider.core.checkpoint import CursorPosition, Position
from airflow_elt_provider.core.load import Load, new_nonce
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.request import merging
from airflow_elt_provider.core.schema import EXTRA_COLUMNS, Column, TableSchema
from airflow_elt_provider.core.staged_file import Role, StagedFile
from airflow_elt_provider.core.system_columns import EXACT, OP
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.stages.local import LocalStage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Destination, Stage
    from airflow_elt_provider.core.receipt import Receipt

COLUMNS = ("id bigint", "name text", "amount decimal(12,2)")


def column(declaration: str, *, format: str = "", source_type: str = "") -> Column:  # noqa: A002 - the column's own word
    """Read ``id bigint``; a name with spaces comes before the last word."""
    name, _, kind = declaration.rpartition(" ")
    return Column(name, parse_type(kind), format=format, source_type=source_type)


@dataclass
class Loads:
    """Makes loads of one stream and brings them into a destination.

    :param version: of the checkpoint that the next load goes on from.
    """

    folder: Path
    target: str
    columns: Sequence[Column | str] = COLUMNS
    key: tuple[str, ...] = ("id",)
    mode: str = "merge"
    stream: str = "stream"
    version: int | None = 0
    settings: dict[str, Any] = field(default_factory=dict)
    store: Stage | None = None

    @property
    def stage(self) -> Stage:
        """Where the files are: in the folder, unless there is a ``store``."""
        return self.store or LocalStage(self.folder / "stage")

    def make(self, *rows: tuple[Any, ...], **changes: Any) -> Load:
        """Write rows, in two files where there are several, and return the load.

        :param rows: values as the wire has them; one more than there are columns is the row's exceptional values.
        :param changes: ``ops`` are pairs of ``_elt_op`` and a row, or nothing but its key; the rest is the manifest's.
        """
        ops = changes.pop("ops", ())
        load_id = changes.pop("load_id", None) or secrets.token_hex(16)
        columns = tuple(
            each if isinstance(each, Column) else column(each) for each in changes.pop("columns", self.columns)
        )
        key = tuple(changes.pop("key", self.key))
        schema = TableSchema(columns, key, key_enforced=changes.pop("key_enforced", True))
        files = self._write(schema, rows, load_id) + self._write_ops(schema, ops, load_id)
        into = {"target_table": changes.pop("target", self.target), **self.settings}
        into |= {name: changes.pop(name) for name in _OF_MERGE & set(changes)}
        position = Position("cursor", "src", cursor=CursorPosition("id", load_id, "int8"))
        mode = WriteMode(changes.pop("mode", self.mode))
        manifest = Manifest(
            load_id=load_id, run_key=changes.pop("run_key", load_id), stream=changes.pop("stream", self.stream),
            source="public.item", mode=mode, deletes=DeleteMode(changes.pop("deletes", "ignore")), schema=schema,
            files=files, base_version=changes.pop("version", self.version), next_position=position, **changes,
        )  # fmt: skip
        data = manifest.to_bytes()
        path = f"s-{'0' * 12}/{load_id}/manifest-{secrets.token_hex(4)}.json"
        self.stage.put_if_absent(path, data)
        ref = ManifestRef(f"{self.stage.root}/{path}", hashlib.sha256(data).hexdigest(), load_id, manifest.rows)
        return Load(manifest, ref, merging(**into))

    def _write(self, schema: TableSchema, rows: Sequence[tuple[Any, ...]], load_id: str) -> tuple[StagedFile, ...]:
        plain = [row for row in rows if len(row) == len(schema.columns)]
        odd = [row for row in rows if len(row) > len(schema.columns)]
        halves = [plain[: len(plain) // 2], plain[len(plain) // 2 :], odd]
        return tuple(self._file(schema, half, load_id) for half in halves if half)

    def _write_ops(
        self, schema: TableSchema, ops: Sequence[tuple[str, tuple[Any, ...]]], load_id: str
    ) -> tuple[StagedFile, ...]:
        by_role: dict[Role, list[tuple[Any, ...]]] = {}
        for op, values in ops:
            by_name = dict(zip(schema.primary_key if op[0] != "p" else schema.names, values, strict=True))
            row = (*map(by_name.get, schema.names), op)
            by_role.setdefault(_ROLES[op[0]], []).append(row)
        return tuple(self._file(schema, rows, load_id, OP, role) for role, rows in by_role.items())

    def _file(
        self, schema: TableSchema, rows: Sequence[tuple[Any, ...]], load_id: str, last: str = EXACT,
        role: Role = Role.UPSERT,
    ) -> StagedFile:  # fmt: skip
        extra = (last,) if len(rows[0]) > len(schema.columns) else ()
        wire = schema.wire_schema(tuple(column for column in EXTRA_COLUMNS if column.name in extra))
        arrays = [pa.array([row[at] for row in rows], kind.type) for at, kind in enumerate(wire)]
        name = f"part-{secrets.token_hex(4)}.parquet"
        with self.stage.workspace() as folder:
            local = folder / name
            pq.write_table(pa.Table.from_arrays(arrays, schema=wire), local)
            data = local.read_bytes()
            uri = self.stage.put(local, f"s-{'0' * 12}/{load_id}/{'0' * 8}/{name}")
        return StagedFile(uri, hashlib.sha256(data).hexdigest(), len(rows), len(data), role, extra)

    def merge(self, destination: Destination, *rows: tuple[Any, ...], **changes: Any) -> Receipt:
        """Make a load and bring it in; the next load goes on from it."""
        load = self.make(*rows, **changes)
        receipt = bring_in(destination, load, self.stage)
        if receipt.version is not None and load.manifest.stream == self.stream:
            self.version = receipt.version
        return receipt


_ROLES = {"p": Role.UPSERT, "d": Role.DELETE, "k": Role.KEYSET, "b": Role.KEYSET}
_OF_MERGE = {"on_schema_drift", "checks", "max_delete_ratio", "min_deletes_for_ratio", "allow_empty"}


def staged(destination: Destination, load: Load, stage: Stage) -> Load:
    """Ingest, as another attempt would."""
    load = replace(load, nonce=new_nonce())
    return replace(load, staging=destination.ingest(load, stage) if load.manifest.rows else "")


def bring_in(destination: Destination, load: Load, stage: Stage) -> Receipt:
    """Ingest, prepare and commit."""
    load = staged(destination, load, stage)
    return destination.commit(load, stage, destination.prepare(load))


def odd(*values: Any, **exact: str) -> tuple[Any, ...]:
    """A row with exceptional values: ``odd(1, None, day="infinity")``."""
    return (*values, json.dumps(exact, ensure_ascii=False) if exact else None)


__all__ = ["COLUMNS", "EXACT", "Loads", "bring_in", "column", "odd", "staged"]
