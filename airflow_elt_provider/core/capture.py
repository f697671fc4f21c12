"""How the changes of a source table are found."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, ClassVar

from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class Full:
    """Read the whole table every time."""

    name: ClassVar[str] = "full"
    incremental: ClassVar[bool] = False
    finds_deletes: ClassVar[bool] = True


@dataclass(frozen=True)
class Cursor:
    """Read the rows whose cursor column moved since the checkpoint.

    :param column: a column that grows with every insert and update, such as ``updated_at``.
    :param lag: how late a row may be committed with an earlier cursor value: a ``timedelta`` or seconds for dates and
        times, a plain number for numbers. Default: 5 minutes for dates and times, 0 for numbers. With mode ``merge``
        the window is read again, with mode ``append`` it is held back until it is over.
    """

    column: str
    lag: timedelta | float | None = None
    name: ClassVar[str] = "cursor"
    incremental: ClassVar[bool] = True
    finds_deletes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        size = self.lag.total_seconds() if isinstance(self.lag, timedelta) else self.lag
        if size is not None and not 0 <= size < _CENTURY:
            raise ConfigurationError(
                f"Cursor lag {self.lag!r} is no span.", hint="give it as a positive number or span"
            )


@dataclass(frozen=True)
class Xmin:
    """Read the rows that transactions wrote which were not over at the checkpoint; needs no column for it.

    A scan of the whole table on the server finds them; rows that are gone are not seen.
    """

    name: ClassVar[str] = "xmin"
    incremental: ClassVar[bool] = True
    finds_deletes: ClassVar[bool] = False


@dataclass(frozen=True)
class Fingerprint:
    """Compare hashes of buckets of keys with those of the last load, and read the buckets that changed.

    :param bucket_rows: how many keys are to share a bucket, about; rounded to a power of two. Small ones ship less
        for changes at random, large ones need smaller state files.
    :param by: ``xmin`` (row versions: fast, PostgreSQL tables only), ``content`` (hashes of the rows), or ``auto``:
        row versions where they can be trusted.
    :param consistent: whether the first load reads the whole table under one snapshot. Without, it goes bucket by
        bucket, so that it can go on after a crash; each row is as it was at some moment of the load, and the next
        load brings what moved meanwhile.
    """

    bucket_rows: int = 64
    by: str = "auto"
    consistent: bool = False
    name: ClassVar[str] = "fingerprint"
    incremental: ClassVar[bool] = True
    finds_deletes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.by not in {"auto", "xmin", "content"}:
            raise ConfigurationError(f"Fingerprint(by={self.by!r}).", hint="use 'auto', 'xmin' or 'content'")
        if not 1 <= self.bucket_rows <= _MOST_ROWS:
            raise ConfigurationError(
                f"Fingerprint(bucket_rows={self.bucket_rows!r}).", hint=f"give a number from 1 to {_MOST_ROWS:,}"
            )


@dataclass(frozen=True)
class Wal:
    """Read the write-ahead log through a logical replication slot, in batches.

    :param slot: the slot's name; default: made of the stream's name. A slot belongs to one stream, or to the streams
        of one ``ExtractSlotOperator``.
    :param publication: the publication's name; default: that of the slot.
    :param max_slot_lag: bytes of the log that may wait for a table that keeps failing before it is dropped from a
        shared slot and healed by fingerprint.
    :param heartbeat: whether an idle database gets a small message in its log with each extract, so that the slot
        can move (needs no table: ``pg_logical_emit_message``).
    """

    slot: str = ""
    publication: str = ""
    max_slot_lag: int = 10 << 30
    heartbeat: bool = True
    name: ClassVar[str] = "wal"
    incremental: ClassVar[bool] = True
    finds_deletes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in (self.slot, self.publication):
            if name and not _SLOT.fullmatch(name):
                raise ConfigurationError(
                    f"Wal: {name!r} is no name for a slot.",
                    hint="use up to 63 lower-case letters, digits and underscores",
                )
        if self.max_slot_lag <= 0:
            raise ConfigurationError(f"Wal(max_slot_lag={self.max_slot_lag!r}).", hint="give a number of bytes")


@dataclass(frozen=True)
class NewFiles:
    """Read the files that are new or changed since the checkpoint, by the version that the store gives them.

    :param settle: how long, as a ``timedelta`` or in seconds, a file must have lain as it is: younger ones are left to
        the next load. For folders in which files are written under their final name; stores of objects show only
        whole ones.
    :param replaced: what becomes of a file that was loaded and has another version now: ``load`` it again, ``fail``, or
        ``auto``: load it where a key makes its rows take the place of the old ones, and fail with mode ``append``.
    """

    settle: timedelta | float = 0
    replaced: str = "auto"
    name: ClassVar[str] = "new_files"
    incremental: ClassVar[bool] = True
    finds_deletes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.settle_seconds < _CENTURY:
            raise ConfigurationError(f"NewFiles(settle={self.settle!r}).", hint="give a positive span")
        if self.replaced not in {"auto", "load", "fail"}:
            raise ConfigurationError(f"NewFiles(replaced={self.replaced!r}).", hint="use 'auto', 'load' or 'fail'")

    @property
    def settle_seconds(self) -> float:
        """The span in seconds."""
        return self.settle.total_seconds() if isinstance(self.settle, timedelta) else float(self.settle)


_MOST_ROWS = 1 << 20
_SLOT = re.compile(r"[a-z0-9_]{1,63}")
_CENTURY = 4e18  # no unit of ours reaches further; NaN and infinity fall out too
Capture = Full | Cursor | Xmin | Fingerprint | Wal | NewFiles
_PLAIN: dict[str, type[Full | Xmin | Fingerprint | Wal | NewFiles]] = {
    kind.name: kind for kind in (Full, Xmin, Fingerprint, Wal, NewFiles)
}


def parse_capture(value: str | Capture | dict[str, Any], cursor_column: str | None = None) -> Capture:
    """Accept ``"full"``, ``"cursor"`` (with ``cursor_column``), a dict like ``{"wal": {"slot": "elt"}}``, or a value.

    :raises ConfigurationError: for an unknown capture or a missing, or superfluous, cursor column.
    """
    if isinstance(value, dict):
        return _from_dict(value)
    if value == "cursor":
        if not cursor_column:
            raise ConfigurationError(
                "capture='cursor' has no cursor_column.", hint="name it: cursor_column='updated_at'"
            )
        return Cursor(cursor_column)
    capture = _PLAIN[value]() if isinstance(value, str) and value in _PLAIN else value
    if isinstance(capture, str):
        known = ", ".join(["cursor", *_PLAIN])
        raise ConfigurationError(f"Unknown capture {capture!r}.", hint=f"use one of {known}")
    if cursor_column and not (isinstance(capture, Cursor) and capture.column == cursor_column):
        raise ConfigurationError(
            f"cursor_column={cursor_column!r} does not go with capture {capture.name!r}.",
            hint="drop cursor_column or say capture='cursor'",
        )
    return capture


def _from_dict(value: dict[str, Any]) -> Capture:
    match value:
        case {"cursor": str(column)}:
            return Cursor(column)
        case {"cursor": {"column": str(column), **rest}} if set(rest) <= {"lag"}:
            lag: Any = rest.get("lag")
            return Cursor(column, lag)
    for name, kind in _PLAIN.items():
        if set(value) == {name} and isinstance(value[name], dict):
            known = {field.name for field in fields(kind)}
            if set(value[name]) <= known:
                return kind(**value[name])
            raise ConfigurationError(
                f"{value!r} is not a capture.", hint=f"{name!r} takes {', '.join(sorted(known)) or 'nothing'}"
            )
    raise ConfigurationError(
        f"{value!r} is not a capture.", hint="write {'cursor': 'updated_at'}, {'fingerprint': {'bucket_rows': 64}} "
        "or 'full'",
    )  # fmt: skip
