"""A small model of histories: what a target's versions must be after any loads of events, in any order."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_elt_provider.core.schema import EXTRA_COLUMNS
from airflow_elt_provider.core.staged_file import Role, StagedFile
from airflow_elt_provider.core.system_columns import OP, VALID_FROM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_elt_provider.core.load import Load
    from tests.connectors.staged_loads import Loads
    from tests.contract.world import World

START = datetime(2024, 1, 1, tzinfo=UTC)
Event = tuple[int, str, tuple[Any, ...]]
"""Seconds since START; operation ("" for a row, "d", "p0"...); the row, or its key for "d"."""


def moment(second: float) -> datetime:
    """Return the moment so many seconds after the beginning."""
    return START + timedelta(seconds=second)


def timed(loads: Loads, events: Sequence[Event], **changes: Any) -> Load:
    """Make a load whose rows bring the time from which they hold, as those of a log do."""
    load = loads.make(**changes)
    schema = load.manifest.schema
    extra = tuple(column for column in EXTRA_COLUMNS if column.name in {OP, VALID_FROM})
    wire, files = schema.wire_schema(extra), []
    for role in (Role.UPSERT, Role.DELETE):
        rows = []
        for at, op, values in events:
            if (op == "d") == (role is Role.DELETE):
                by_name = dict(zip(schema.primary_key if op == "d" else schema.names, values, strict=True))
                rows.append((*map(by_name.get, schema.names), op or None, moment(at)))
        if rows:
            files.append(_file(loads, wire, rows, load.load_id, role))
    return replace(load, manifest=replace(load.manifest, files=tuple(files)))


def _file(loads: Loads, wire: pa.Schema, rows: list[tuple[Any, ...]], load_id: str, role: Role) -> StagedFile:
    arrays = [pa.array([row[at] for row in rows], kind.type) for at, kind in enumerate(wire)]
    name = f"part-{secrets.token_hex(4)}.parquet"
    with loads.stage.workspace() as folder:
        pq.write_table(pa.Table.from_arrays(arrays, schema=wire), folder / name)
        data = (folder / name).read_bytes()
        uri = loads.stage.put(folder / name, f"s-{'0' * 12}/{load_id}/{'0' * 8}/{name}")
    return StagedFile(uri, hashlib.sha256(data).hexdigest(), len(rows), len(data), role, (OP, VALID_FROM))


Version = tuple[str | None, ...]
"""Columns as text; from and to as seconds since START, or the text itself where it is no moment; current or not."""


def versions(world: World, columns: str = "id, name") -> list[Version]:
    """Return the target's versions."""
    found = world.target_rows(f"{columns}, _elt_valid_from, _elt_valid_to, _elt_is_current")
    return sorted(
        ((*row, _second(start), _second(end), str(str(current).lower() in {"true", "t", "1"}))
         for *row, start, end, current in found), key=str,
    )  # fmt: skip


def _second(text: str | None) -> str | None:
    if text is None:
        return None
    told = re.fullmatch(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,9})?) ?(?:Z|UTC|[+]00(?::?00)?)?", text)
    if not told:
        return text
    at = (datetime.fromisoformat(f"{told[1]}T{told[2][:15]}").replace(tzinfo=UTC) - START).total_seconds()
    return f"{at:g}" if at == int(at) else f"{at:.6f}"


@dataclass
class Model:
    """Versions by key: time -> values, None where the key has no row from then on.

    :param taken_back: beginnings of versions that were deleted at that very moment.
    """

    keys: dict[Any, dict[int, Any]] = field(default_factory=dict)
    taken_back: set[tuple[Any, int]] = field(default_factory=set)

    def load(self, events: Sequence[tuple[int, Any, Any]]) -> None:
        """Take a load of events: time, key, values (None for a delete)."""
        before = {key: set(times) for key, times in self.keys.items()}
        for at, key, values in sorted(events, key=lambda event: event[0]):
            times = self.keys.setdefault(key, {})
            begins = at in before.get(key, ()) and (times[at] is not None or (key, at) in self.taken_back)
            holds = max((time for time in times if time < at or (time == at and not begins)), default=None)
            if not begins and (times[holds] if holds is not None else None) == values:
                continue
            times[at] = values
            if begins:
                (self.taken_back.add if values is None else self.taken_back.discard)((key, at))
        self._forget()

    def _forget(self) -> None:
        """Forget what no version tells: that a key is gone still."""
        for key, times in self.keys.items():
            holds = None
            for at in sorted(times):
                if times[at] is None and holds is None and (key, at) not in self.taken_back:
                    del times[at]
                    continue
                holds = times[at]

    def versions(self) -> list[Version]:
        """Return what the target must have."""
        found = []
        for key, times in self.keys.items():
            order = sorted(times)
            for at, until in zip(order, [*map(str, order[1:]), None][: len(order)], strict=True):
                if times[at] is not None:
                    found.append((str(key), times[at], str(at), until, str(until is None)))
        return sorted(found, key=str)

    def shape(self, rows: Sequence[Version]) -> list[Version]:
        """Return a target's versions without those that were taken back."""
        assert {(row[0], row[2]) for row in rows if row[2] == row[3]} == {
            (str(k), str(at)) for k, at in self.taken_back
        }
        return sorted((row for row in rows if row[2] != row[3]), key=str)
