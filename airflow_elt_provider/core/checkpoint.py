"""The saved position of a stream."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

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
class Position:
    """Where a stream stands at its source.

    :param capture: name of the capture that wrote it.
    :param source: identity of what was read: server, database and table or query.
    :param key: the primary key's columns, as named in the target.
    :param columns: the columns read, as named in the source.
    :param columns_seen: the highest column number of the source table then (0: unknown), to tell a column that was
        added since from one that had been left out.
    :param shape: for each column of ``columns`` what it was then: its table's object id, its number and its type.
    :param appends: whether the stream appends: its positions mean another boundary than those of ``merge``.
    """

    capture: str
    source: str
    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    columns_seen: int = 0
    cursor: CursorPosition | None = None
    appends: bool = False
    shape: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        lists = {name: list(getattr(self, name)) for name in ("key", "columns", "shape")}
        return {**asdict(self), **lists}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Position:
        """Read what :meth:`to_json` wrote."""
        cursor = value.get("cursor")
        return cls(**{
            **value, "key": tuple(value["key"]), "columns": tuple(value["columns"]), "shape": tuple(value["shape"]),
            "cursor": CursorPosition(**cursor) if cursor else None,
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
