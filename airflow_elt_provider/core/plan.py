"""What a user asked for, checked: the plan of one table's journey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_elt_provider.core.capture import Capture, Cursor, Full
from airflow_elt_provider.core.checks import Check
from airflow_elt_provider.core.drift import DriftPolicy
from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.partition import Partition
from airflow_elt_provider.core.system_columns import RESERVED
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class Interval:
    """A half-open range ``[start, end)`` of the cursor column, as texts that the source casts to the column's type."""

    start: str
    end: str

    @classmethod
    def parse(cls, value: Sequence[Any] | Interval | None) -> Interval | None:
        """Accept ``(start, end)``; datetimes are written in ISO 8601.

        :raises ConfigurationError: when it is not two values.
        """
        if value is None or isinstance(value, Interval):
            return value
        if isinstance(value, str) or len(value) != len(("start", "end")):
            raise ConfigurationError(f"interval={value!r} is not (start, end).", hint="give two values of the cursor")
        start, end = (part.isoformat() if hasattr(part, "isoformat") else str(part) for part in value)
        if "None" in {start, end}:
            raise ConfigurationError(
                f"interval={value!r} has no bounds.", hint="the run has no data interval: trigger it with a date"
            )
        return cls(start, end)


def refuse_limit(rows: int) -> None:
    """Refuse a number of rows that cannot be meant.

    :raises ConfigurationError: for one below 0.
    """
    if rows < 0:
        raise ConfigurationError(f"max_quarantined_rows={rows} is no number of rows.", hint="give 0 or more")


@dataclass(frozen=True)
class Guards:
    """Limits beyond which a load is refused before anything is merged.

    :param max_delete_ratio: largest share of the target's rows that one load may delete, 0 to 1.
    :param min_deletes_for_ratio: fewer deletes than this are never held against the ratio.
    :param allow_empty: whether ``replace``, or ``merge`` with deletes, may empty a target that has rows.
    :param max_quarantined_rows: how many rows the load may set aside in all; those of its extract count, once the merge
        finds more.
    """

    max_delete_ratio: float = 0.5
    min_deletes_for_ratio: int = 100
    allow_empty: bool = False
    max_quarantined_rows: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_delete_ratio <= 1:
            raise ConfigurationError(f"max_delete_ratio={self.max_delete_ratio!r}.", hint="give a share from 0 to 1")
        refuse_limit(self.max_quarantined_rows)


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to read from the source. Exactly one of ``table``, ``query`` and ``path`` is set.

    :param path: files, by a URI or an absolute path with wildcards.
    :param where: an extra predicate in the source's SQL.
    :param columns: source columns to take, in this order; None for all.
    :param rename: source name -> name in the target.
    :param column_types: source name -> logical type, see :func:`airflow_elt_provider.core.types.parse_type`.
    :param primary_key: source names of the key; None to read it from the source.
    :param parallelism: ranges of the table that are read at once, under one snapshot.
    :param hash_columns: source name -> id of the connection whose password is the key of its values' hashes.
    :param redact_columns: source name -> the text that takes the place of its values.
    :param max_quarantined_rows: how many rows that cannot be read may be set aside.
    :param file_format: how the rows stand in the files of ``path``.
    :param partition: the range of keys to read, where other tasks read the others; None for the whole table.
    :param in_place: whether files may be left where they lie, for whoever loads them to read. No part of what users
        type: it is so where one task has the source and a destination that can.
    :param dry_run: whether this is only to see what would be read: a capture then makes and moves nothing at the
        source (slots, publications). No part of what users type.
    """

    stream: str
    table: TableRef | None = None
    query: str | None = None
    path: str | None = None
    where: str | None = None
    columns: tuple[str, ...] | None = None
    exclude_columns: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    column_types: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] | None = None
    capture: Capture = field(default_factory=Full)
    mode: WriteMode = WriteMode.MERGE
    deletes: DeleteMode = DeleteMode.IGNORE
    interval: Interval | None = None
    full_refresh: bool = False
    parallelism: int = 1
    hash_columns: Mapping[str, str] = field(default_factory=dict)
    redact_columns: Mapping[str, str] = field(default_factory=dict)
    max_quarantined_rows: int = 0
    dry_run: bool = field(default=False, repr=False)
    in_place: bool = field(default=False, repr=False)
    file_format: FileFormat = field(default_factory=FileFormat)
    partition: Partition | None = None

    def __post_init__(self) -> None:
        refuse_limit(self.max_quarantined_rows)
        for rule, message, hint in [*self._rules(), *self._rules_of_masks()]:
            if rule:
                raise ConfigurationError(f"{self.stream}: {message}", hint=hint)

    def _rules(self) -> list[tuple[bool, str, str]]:
        cursor = isinstance(self.capture, Cursor)
        given = [origin for origin in (self.table, self.query, self.path) if origin is not None]
        files = self.path is not None
        reserved = sorted(RESERVED & {*self.rename.values()})
        partial = self.capture.incremental and self.interval is None
        replaces_part = self.mode is WriteMode.REPLACE and partial
        deletes = self.deletes is not DeleteMode.IGNORE
        return [
            (len(given) != 1, "give exactly one of source_table, query and path.",
             "name the table, the query or the files"),
            (files and self.capture.name not in {"full", "new_files"},
             f"capture={self.capture.name!r} is not for files.",
             "use capture='new_files', or 'full' to read all that match"),
            (not files and self.capture.name == "new_files", "capture='new_files' is for files.", "give path='...'"),
            (not files and self.file_format != FileFormat(), "file_format is for files.", "give path='...'"),
            (files and self.where is not None, "where is SQL, and files are read whole.",
             "leave where out; filter with a view of the target, or narrow the path"),
            (files and self.parallelism > 1, "files are read one after the other in this version.",
             "leave parallelism at 1"),
            (replaces_part,
             f"mode='replace' with capture={self.capture.name!r} would throw away every row that did not change.",
             "use mode='merge', or capture='full', or (with a cursor) give an interval"),
            (partial and not cursor and not files and self.mode is WriteMode.APPEND,
             f"mode='append' with capture={self.capture.name!r} would append a changed row a second time.",
             "use mode='merge' or 'history', or a cursor that only new rows move"),
            (self.capture.name in {"fingerprint", "wal"} and self.query is not None,
             f"capture={self.capture.name!r} follows a table, and this is a query.",
             "name a table or a view with source_table, or use capture='full' or 'cursor'"),
            (self.capture.name == "wal" and self.where is not None, "the log knows no where.",
             "leave where out, or use another capture"),
            (self.interval is not None and not cursor, "interval needs a cursor column.",
             "add capture='cursor', cursor_column='...'"),
            (deletes and not self.capture.finds_deletes,
             f"deletes={self.deletes.value!r} cannot work with capture={self.capture.name!r}: it does not see deletes.",
             "use capture='fingerprint', 'wal' or 'full', or deletes='ignore'"),
            (deletes and not self.mode.needs_key,
             f"deletes={self.deletes.value!r} does not go with mode={self.mode.value!r}.",
             "use mode='merge' or 'history'"),
            (self.parallelism < 1, f"parallelism={self.parallelism} is not a number of readers.", "give 1 or more"),
            (bool(reserved), f"rename gives a column the name {', '.join(reserved)}, which belongs to this package.",
             "choose another name"),
            (self.primary_key == (), "primary_key is empty.", "name its columns, or leave it out"),
        ]  # fmt: skip

    def _rules_of_masks(self) -> list[tuple[bool, str, str]]:
        masked = set(self.masked_columns)
        twice = sorted(set(self.hash_columns) & set(self.redact_columns))
        unread = sorted(masked & set(self.exclude_columns) or (masked - set(self.columns or masked)))
        typed = sorted(name for name in masked if self.column_types.get(name, "text") != "text")
        key = sorted(set(self.redact_columns) & set(self.primary_key or ()))
        cursor = self.capture.column if isinstance(self.capture, Cursor) else ""
        return [
            (bool(twice), f"column {', '.join(twice)} is both hashed and redacted.", "choose one of the two"),
            (bool(unread), f"column {', '.join(unread)} is masked, and not read at all.",
             "take it out of hash_columns or redact_columns"),
            (bool(typed), f"column_types names {', '.join(typed)}, and a masked column is text.",
             "take it out of column_types"),
            (bool(key), f"column {', '.join(key)} of primary_key is redacted, which would make all keys one.",
             "use hash_columns for it"),
            (cursor in masked, f"column {cursor} is the cursor, whose values stand in checkpoints and logs.",
             "use another cursor column or another capture, or do not mask it"),
        ]  # fmt: skip

    @property
    def masked_columns(self) -> tuple[str, ...]:
        """Source names of the columns whose values do not arrive as they are: hashed or redacted.

        The engine puts the masks on what a source gives; it lets the source read these columns as text. A source only
        has to mind that the target does not hold their values: buckets of keys with such a column are of kind ``all``.
        """
        return (*self.hash_columns, *self.redact_columns)

    @property
    def source(self) -> str:
        """The source's text for logs and errors: the table's name, the files' path, or the query."""
        return str(self.table or self.path or f"query {self.query!r}")

    def target_name(self, column: str) -> str:
        """Return the name that a source column has in the target."""
        return self.rename.get(column, column)


@dataclass(frozen=True, kw_only=True)
class Merging:
    """How staged rows become rows of the target.

    :param mode: None for what the extract was made for.
    :param deletes: None for what the extract was made for.
    :param table_options: used when the target is created; each destination knows its own keys.
    """

    target: TableRef
    mode: WriteMode | None = None
    deletes: DeleteMode | None = None
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    checks: tuple[Check, ...] = ()
    guards: Guards = field(default_factory=Guards)
    table_options: Mapping[str, Any] = field(default_factory=dict)
