"""The saved position of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_elt_provider.core.buckets import Buckets
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class CursorPosition:
    """Up to where a cursor column has been read.

    :param value: the largest value read, as the source's canonical text; None while no row had one.
    :param type: the source's type of the column, in which values are compared.
    :param window: count and hash of the rows that the next extract would read again, as ``"rows:hash"``: while it
        stays the same they need no second look. Empty where there is no such window.
    """

    column: str
    value: str | None
    type: str
    window: str = ""


@dataclass(frozen=True)
class StateFile:
    """A file on the stage that a checkpoint names: what the next extract compares with.

    :param sha256: of its bytes, in hex.
    """

    uri: str
    sha256: str
    bytes: int = 0


@dataclass(frozen=True)
class SnapshotPosition:
    """What a snapshot of a source held, as far as the next one needs it to find what changed since.

    :param epoch: identity of everything that makes row versions comparable: cluster, timeline, database, table files,
        server version. With another one nothing is known, and everything is compared by content, or read.
    :param xmin: 64-bit id of the oldest transaction that was not over then: what it and later ones wrote may be new.
    :param by: what stands for a row's content: ``xmin`` (its version) or ``content`` (a hash); ``files`` where files
        were compared by their versions, and not rows.
    :param buckets: how the buckets of the state file are told; None where there are none.
    :param state: the buckets' fingerprints, or the files that are merged; None where there are none.
    :param rows: how many rows, or files, there were.
    :param loads: of files: how many loads of this epoch found any, this one among them.
    """

    epoch: str
    xmin: int = 0
    by: str = "xmin"
    buckets: Buckets | None = None
    state: StateFile | None = None
    rows: int = 0
    loads: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return {**asdict(self), "buckets": self.buckets.to_json() if self.buckets else None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SnapshotPosition:
        """Read what :meth:`to_json` wrote."""
        buckets, state = value["buckets"], value["state"]
        return cls(**{
            **value, "buckets": Buckets.from_json(buckets) if buckets else None,
            "state": StateFile(**state) if state else None,
        })  # fmt: skip


@dataclass(frozen=True)
class LogPosition:
    """Up to where a write-ahead log has been read.

    :param lsn: every transaction that was committed up to here is merged, none after; as PostgreSQL writes it,
        ``16/B374D848``.
    :param slot: the replication slot.
    :param publication: the publication.
    :param told: identity of the publication and of the table's place in it: another one may have left changes untold.
    """

    lsn: str
    slot: str
    publication: str
    told: str = ""


@dataclass(frozen=True)
class Position:
    """Where a stream stands at its source.

    :param capture: name of the capture that wrote it.
    :param source: identity of what was read: server, database and table or query.
    :param key: the primary key's columns, as named in the target.
    :param columns: the columns read, as named in the source.
    :param columns_seen: the highest column number of the source table then (0: unknown), to tell a column that was
        added since from one that had been left out.
    :param shape: for each column of ``columns`` what it was then: its table's object id, its number and its type.
    :param snapshot: of captures that compare snapshots, and of ``wal``, which falls back on them.
    :param log: of ``wal``.
    :param appends: whether the stream appends: its positions mean another boundary than those of ``merge``.
    :param meanings: what decides values beside the rows themselves: names and types in the target, labels of
        enumerations and the like; with others the same rows have other values.
    :param masks: source column -> how its values were masked, and with which key; columns that were not are absent.
    """

    capture: str
    source: str
    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    columns_seen: int = 0
    cursor: CursorPosition | None = None
    appends: bool = False
    shape: tuple[str, ...] = ()
    snapshot: SnapshotPosition | None = None
    log: LogPosition | None = None
    meanings: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_blank(self) -> bool:
        """Whether nothing was there to be read yet."""
        return self.capture == "new_files" and not (self.snapshot and self.snapshot.loads)

    def __str__(self) -> str:
        """The position as a person would write it; "" where there is nothing to write."""
        if self.log:
            return self.log.lsn
        if self.snapshot and self.snapshot.by == "files":
            return f"{self.snapshot.rows:,} files" if self.snapshot.rows else ""
        if self.snapshot:
            return f"xmin {self.snapshot.xmin}" if self.snapshot.xmin else ""
        return (self.cursor.value or "") if self.cursor else ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        lists = {name: list(getattr(self, name)) for name in ("key", "columns", "shape")}
        snapshot = self.snapshot.to_json() if self.snapshot else None
        return {**asdict(self), **lists, "snapshot": snapshot}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Position:
        """Read what :meth:`to_json` wrote."""
        cursor, snapshot, log = (value.get(name) for name in ("cursor", "snapshot", "log"))
        return cls(**{
            **value, "key": tuple(value["key"]), "columns": tuple(value["columns"]), "shape": tuple(value["shape"]),
            "cursor": CursorPosition(**cursor) if cursor else None,
            "snapshot": SnapshotPosition.from_json(snapshot) if snapshot else None,
            "log": LogPosition(**log) if log else None,
        })  # fmt: skip

    def refuse_change(self, now: Position, stream: str) -> None:
        """Refuse to go on from here with another capture, cursor column, key or source.

        :raises ConfigurationError: names both sides.
        """
        mine, theirs = self._essence(), now._essence()
        for what, before in mine.items():
            if theirs[what] != before:
                raise ConfigurationError(
                    f"{stream}: the checkpoint was written with {what} {before!r}, now it is {theirs[what]!r}.",
                    hint="run once with full_refresh=True, or give the changed load a stream name of its own",
                )

    def _essence(self) -> dict[str, object]:
        column = self.cursor.column if self.cursor else None
        return {
            "capture": self.capture, "cursor column": column, "key": self.key, "source": self.source,
            "mode": "append" if self.appends else "merge or replace",
        }  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A stream's row in the destination.

    :param version: counts the merges of the stream; the compare-and-set goes by it. 0: there is no row yet.
    :param load_id: the load that wrote it.
    :param position: None once a user reset the stream: the next extract reads everything. The version stays, so that
        a load from before the reset is stale.
    """

    stream: str
    version: int
    load_id: str
    position: Position | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads; it may travel by XCom."""
        return {**asdict(self), "position": self.position.to_json() if self.position else None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Checkpoint:
        """Read what :meth:`to_json` wrote."""
        position = value["position"]
        return cls(**{**value, "position": Position.from_json(position) if position else None})
