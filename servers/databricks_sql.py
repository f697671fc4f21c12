"""The SQL of the stand-in for Databricks: Sail runs it, delta-rs what Sail cannot (see `databricks_delta.py`).

Sail is a Spark in Rust with real Delta tables.  Here its statements are given what a SQL warehouse adds: DELTA as the
default format, managed locations, bound parameters in every statement, column lists that name some of the columns,
the counts that a statement returns, and Databricks's words for an error.
"""

from __future__ import annotations

import re
import shutil
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pyarrow as pa

from servers.databricks_delta import Files, SqlError, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyspark.sql import SparkSession

_PART: Final = r"(?:`(?:[^`]|``)+`|\w+)"
_NAME: Final = rf"({_PART}(?:\s*\.\s*{_PART}){{0,2}})"
_LITERAL: Final = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`]|``)*`|\?", re.DOTALL)
_WRITES: Final = re.compile(
    rf"(MERGE\s+INTO|UPDATE|DELETE\s+FROM|INSERT\s+(?:INTO|OVERWRITE)(?:\s+TABLE)?)\s+{_NAME}", re.IGNORECASE
)
_QUOTED: Final = r"'((?:[^'\\]|\\.)*)'"
_CREATE: Final = re.compile(rf"CREATE\s+TABLE\s+(IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*", re.IGNORECASE)
_LISTED: Final = re.compile(rf"INSERT\s+INTO(?:\s+TABLE)?\s+{_NAME}\s*\(([^()]+)\)\s*(.*)", re.IGNORECASE | re.DOTALL)
_COPY: Final = re.compile(
    rf"COPY\s+INTO\s+{_NAME}\s+FROM\s+'((?:[^'\\]|\\.)*)'(?:\s+WITH\s*\(.*?\)+)?\s+FILEFORMAT\s*=\s*PARQUET\s+"
    r"FILES\s*=\s*\((.*?)\)(?=\s+FORMAT_OPTIONS|\s+COPY_OPTIONS|\s*$)(.*)", re.IGNORECASE | re.DOTALL,
)  # fmt: skip
_MAX_FILES: Final = 1000
_SCHEMA: Final = re.compile(r"CREATE\s+SCHEMA\b", re.IGNORECASE)
_UNREAD: Final = "Exception deserializing response"
"""What gRPC's Python client says of an answer that came and that it could not decode; now and then it cannot."""
_ASKED: Final = 4
_NO_STATISTICS: Final = "TBLPROPERTIES ('delta.dataSkippingNumIndexedCols' = '0')"
"""Sail takes a column whose least value is its greatest for a constant, and both are rounded, and leave out NaN."""
_ERRORS: Final = (  # Sail's words, Databricks's error class and SQLSTATE
    # The second: Sail shows a table of CREATE TABLE AS before it has its rows, Databricks does not.
    ("TABLE_OR_VIEW_NOT_FOUND|No commit files found", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    ("Database not found", "SCHEMA_NOT_FOUND", "42704"),
    ("already exists", "TABLE_OR_VIEW_ALREADY_EXISTS", "42P07"),
    ("MERGE_CARDINALITY", "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE", "21506"),
    ("annot resolve|missing from the schema|No field named", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
    ("expected", "PARSE_SYNTAX_ERROR", "42601"),
    ("[Oo]verflow|out of range", "ARITHMETIC_OVERFLOW", "22003"),
    ("Cast error|Cannot cast|parse", "CAST_INVALID_INPUT", "22018"),
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where names without a catalog or schema lead."""

    catalog: str = "main"
    schema: str = "default"


@dataclass
class Warehouse:
    """One metastore with its tables, and the Sail session that runs SQL on them."""

    spark: SparkSession
    folder: Path
    files: Files
    tables: dict[tuple[str, ...], Table] = field(default_factory=dict)
    _ddl: threading.RLock = field(default_factory=threading.RLock)

    def run(self, statement: str, values: Sequence[Any], place: Place) -> pa.Table:
        """Run one statement and return its rows; for one that writes, the counts that Databricks returns."""
        sql = _bound(re.sub(r"^(?:\s*/\*.*?\*/)+", "", statement, flags=re.DOTALL).strip().rstrip(";"), values)
        for pattern, method in _STATEMENTS:
            if found := pattern.fullmatch(sql):
                return method(self, place, *found.groups())
        if found := _CREATE.match(sql):
            return self._create(place, bool(found[1]), found[2], sql[found.end() :])
        if found := _WRITES.match(sql):
            return self._write(place, found[1].upper().split()[0], found[2], sql)
        if _SCHEMA.match(sql):
            return self._command(sql, lambda: True)  # a refusal is a status, which is always read
        return self._query(sql)

    # --- names ---

    def table(self, place: Place, name: str) -> Table:
        """Return a table. :raises SqlError: when there is none."""
        found = self.tables.get(_key(place, name))
        if found is None:
            raise SqlError("TABLE_OR_VIEW_NOT_FOUND", f"The table or view {name} cannot be found.", "42P01")
        return found

    # --- tables ---

    def _create(self, place: Place, quiet: bool, name: str, rest: str) -> pa.Table:  # noqa: FBT001
        key = _key(place, name)
        with self._ddl:
            if key in self.tables:
                if quiet:
                    return pa.table({})
                raise SqlError("TABLE_OR_VIEW_ALREADY_EXISTS", f"Cannot create {name}: it already exists.", "42P07")
            made = Table(self.folder / uuid4().hex)
            columns, clauses, query = _divided(rest)
            made.properties = _properties(clauses)
            if columns:
                made.check_names([_unquoted(part) for part in re.findall(rf"(?:^\(|,)\s*({_PART})\s+\w", columns)])
            partitioned = re.search(r"PARTITIONED BY \([^)]*\)", clauses)
            location = f"USING delta {partitioned[0] if partitioned else ''} LOCATION '{made.path}'"
            sql = f"CREATE TABLE {_written(key)} {columns} {location} {_NO_STATISTICS} {query}"
            self._command(sql, lambda: made.version >= 0)
            self.tables[key] = made
        return pa.table({"num_affected_rows": [1], "num_inserted_rows": [1]}) if query else pa.table({})

    def _drop(self, place: Place, quiet: str | None, name: str) -> pa.Table:
        key = _key(place, name)
        with self._ddl:
            gone = self.tables.pop(key, None)
            if gone:
                self._command(f"DROP TABLE IF EXISTS {_written(key)}")
                shutil.rmtree(gone.path, ignore_errors=True)
            elif not quiet:
                raise SqlError("TABLE_OR_VIEW_NOT_FOUND", f"The table or view {name} cannot be found.", "42P01")
        return pa.table({})

    def _drop_schema(self, place: Place, quiet: str | None, name: str) -> pa.Table:
        del quiet
        for key in [key for key in self.tables if key[:2] == _key(place, f"{name}.x")[:2]]:
            self._drop(place, "quiet", _written(key))
        return pa.table({})

    def _alter(self, place: Place, name: str, change: str) -> pa.Table:
        table = self.table(place, name)
        found = [(method, match) for pattern, method in _CHANGES if (match := pattern.fullmatch(change))]
        if not found:
            raise SqlError("PARSE_SYNTAX_ERROR", f"Syntax error at or near {change!r}.", "42601")
        with table.lock:
            for method, match in found:
                method(table, *match.groups())
            key = _key(place, name)  # Sail keeps the columns of the day on which it met the table
            self._command(f"DROP TABLE IF EXISTS {_written(key)}")
            self._command(f"CREATE TABLE IF NOT EXISTS {_written(key)} USING delta LOCATION '{table.path}'")
        return pa.table({})

    def _describe(self, place: Place, name: str) -> pa.Table:
        columns = self.table(place, name).columns
        names, types = list(columns), list(columns.values())
        return pa.table({
            "col_name": pa.array(names, pa.string()), "data_type": pa.array(types, pa.string()),
            "comment": pa.nulls(len(names), pa.string()),
        })  # fmt: skip

    def _history(self, place: Place, name: str, limit: str | None) -> pa.Table:
        commits = self.table(place, name).history(int(limit) if limit else None)
        texts = pa.map_(pa.string(), pa.string())
        metrics = [[(key, str(value)) for key, value in each.get("operationMetrics", {}).items()] for each in commits]
        return pa.table({
            "version": pa.array([each["version"] for each in commits], pa.int64()),
            "operation": pa.array([each.get("operation") for each in commits], pa.string()),
            "operationMetrics": pa.array(metrics, texts),
        })  # fmt: skip

    def _where(self, place: Place) -> pa.Table:
        return pa.table({"current_catalog()": [place.catalog], "current_schema()": [place.schema]})

    # --- rows ---

    def _write(self, place: Place, verb: str, name: str, sql: str) -> pa.Table:
        table = self.table(place, name)
        if listed := _LISTED.fullmatch(sql):
            sql = _positional(table, *listed.groups())
        with table.lock:
            before = table.version
            self._command(sql, lambda: table.version > before)
            done = table.history(1)[0]
        return _counts(verb, done.get("operationMetrics", {}) if done["version"] > before else {})

    def _copy(self, place: Place, name: str, source: str, names: str, options: str) -> pa.Table:
        table = self.table(place, name)
        wanted = [_text(part) for part in re.findall(r"'(?:[^'\\]|\\.)*'", names)]
        if len(wanted) > _MAX_FILES:
            raise SqlError("COPY_INTO_TOO_MANY_FILES", f"{len(wanted)} files, more than {_MAX_FILES}.", "42000")
        merge = bool(re.search(r"FORMAT_OPTIONS\s*\([^)]*'mergeSchema'\s*=\s*'true'", options, re.IGNORECASE))
        with table.lock:
            rows = table.copy(self.files, _text(f"'{source}'"), wanted, merge=merge)
        return pa.table({"num_affected_rows": [rows], "num_inserted_rows": [rows], "num_skipped_corrupt_files": [0]})

    # --- Sail ---

    def _query(self, sql: str) -> pa.Table:
        """Return the rows of a query, or of a command that may run twice."""
        with _worded():
            found = _read(lambda: self.spark.sql(sql))
            return _read(found.toArrow)

    def _command(self, sql: str, done: Callable[[], bool] = lambda: False) -> pa.Table:
        """Run a command, which has no rows; `done` tells whether one was, whose answer could not be read."""
        with _worded():
            _read(lambda: self.spark.sql(sql), done)
        return pa.table({})


def _read(ask: Callable[[], Any], done: Callable[[], bool] = lambda: False) -> Any:
    """Return an answer.  One that cannot be read is no error of the warehouse: it is asked for again, unless `done`."""
    for _ in range(_ASKED - 1):
        try:
            return ask()
        except Exception as error:
            if _UNREAD not in str(error):
                raise
            if done():
                return None
    return ask()


class _worded(AbstractContextManager[None]):  # noqa: N801 - used as a function
    """Turn Sail's errors into Databricks's."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, SqlError) or not isinstance(error, Exception):
            return
        text = " ".join(str(error).split())[:600]
        if found := re.search(r"elt: [^\n]*", text):
            raise SqlError("USER_RAISED_EXCEPTION", found[0], "P0001") from error
        for pattern, name, state in _ERRORS:
            if re.search(pattern, text):
                raise SqlError(name, text, state) from error
        raise SqlError("INTERNAL_ERROR", text, "XX000") from error


def _bound(sql: str, values: Sequence[Any]) -> str:
    """Write parameters into the text: Sail takes none in a command."""
    left = iter(values)
    return (
        _LITERAL.sub(lambda found: _written_value(next(left)) if found[0] == "?" else found[0], sql) if values else sql
    )


def _written_value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _key(place: Place, name: str) -> tuple[str, ...]:
    parts = [_unquoted(part).lower() for part in re.findall(_PART, name)]
    return (*(place.catalog, place.schema)[: 3 - len(parts)], *parts)


def _unquoted(part: str) -> str:
    return part[1:-1].replace("``", "`") if part.startswith("`") else part


def _written(key: tuple[str, ...]) -> str:
    return ".".join("`" + part.replace("`", "``") + "`" for part in key)


def _text(literal: str) -> str:
    return re.sub(r"\\(.)", r"\1", literal[1:-1], flags=re.DOTALL)


def _divided(rest: str) -> tuple[str, str, str]:
    """Divide what follows a table's name into its columns, its clauses and its query."""
    columns = ""
    if rest.startswith("("):
        depth, quoted = 0, False
        for at, char in enumerate(rest):
            quoted ^= char == "`"
            depth += 0 if quoted else (char == "(") - (char == ")")
            if depth == 0:
                columns, rest = rest[: at + 1], rest[at + 1 :]
                break
    query = re.search(r"\bAS\s+SELECT\b.*", rest, re.IGNORECASE | re.DOTALL)
    return columns, rest[: query.start()] if query else rest, query[0] if query else ""


def _properties(clauses: str) -> dict[str, str]:
    pairs = re.findall(r"('(?:[^'\\]|\\.)*')\s*=\s*('(?:[^'\\]|\\.)*')", clauses)
    return {_text(name): _text(value) for name, value in pairs}


def _positional(table: Table, name: str, listed: str, query: str) -> str:
    """Give an INSERT that names some columns all of them, in order: Sail wants them so."""
    given = {_unquoted(part).lower(): part for part in re.findall(_PART, listed)}
    values = {own: f"_q.{given[own.lower()]}" if own.lower() in given else "NULL" for own in table.columns}
    items = ", ".join(f"CAST({values[own]} AS {type_}) AS {_written((own,))}" for own, type_ in table.columns.items())
    return f"INSERT INTO {name} SELECT {items} FROM ({query}) AS _q({listed})"


def _counts(verb: str, metrics: dict[str, Any]) -> pa.Table:
    def number(*names: str) -> int:
        return next((int(metrics[name]) for name in names if name in metrics), 0)

    if verb == "MERGE":
        parts = {what: number(f"numTargetRows{what.title()}") for what in ("updated", "deleted", "inserted")}
        rows = {f"num_{what}_rows": [rows] for what, rows in parts.items()}
        return pa.table({"num_affected_rows": [sum(parts.values())], **rows})
    if verb == "INSERT":
        rows = number("numOutputRows")
        return pa.table({"num_affected_rows": [rows], "num_inserted_rows": [rows]})
    return pa.table({"num_affected_rows": [number("numUpdatedRows", "numDeletedRows")]})


_COLUMN: Final = rf"({_PART})"
_CHANGES: Final[tuple[tuple[re.Pattern[str], Callable[..., None]], ...]] = (
    (re.compile(rf"ADD COLUMNS? \(?{_COLUMN} ([^()]+(?:\(\d+,\s*\d+\))?)\)?", re.IGNORECASE),
     lambda table, name, type_: table.add_column(_unquoted(name), type_)),
    (re.compile(rf"RENAME COLUMN {_COLUMN} TO {_COLUMN}", re.IGNORECASE),
     lambda table, old, new: table.rename(_unquoted(old), _unquoted(new))),
    (re.compile(rf"DROP COLUMN {_COLUMN}", re.IGNORECASE), lambda table, name: table.drop_column(_unquoted(name))),
    (re.compile(rf"ALTER COLUMN {_COLUMN} TYPE (.+)", re.IGNORECASE),
     lambda table, name, type_: table.widen(_unquoted(name), type_)),
    (re.compile(r"SET TBLPROPERTIES (\(.*\))", re.IGNORECASE),
     lambda table, text: table.set_properties(_properties(text))),
)  # fmt: skip
_STATEMENTS: Final[tuple[tuple[re.Pattern[str], Callable[..., pa.Table]], ...]] = (
    (_COPY, Warehouse._copy),  # noqa: SLF001
    (re.compile(rf"DROP TABLE (IF EXISTS )?{_NAME}", re.IGNORECASE), Warehouse._drop),  # noqa: SLF001
    (re.compile(rf"DROP SCHEMA (IF EXISTS )?{_NAME} CASCADE", re.IGNORECASE), Warehouse._drop_schema),  # noqa: SLF001
    (re.compile(rf"ALTER TABLE {_NAME} (.*)", re.IGNORECASE | re.DOTALL), Warehouse._alter),  # noqa: SLF001
    (re.compile(rf"DESCRIBE TABLE {_NAME}", re.IGNORECASE), Warehouse._describe),  # noqa: SLF001
    (re.compile(rf"DESCRIBE HISTORY {_NAME}(?: LIMIT (\d+))?", re.IGNORECASE), Warehouse._history),  # noqa: SLF001
    (re.compile(rf"PUT {_QUOTED} INTO {_QUOTED} OVERWRITE", re.IGNORECASE),
     lambda self, _, local, path: self.files.link("PUT", _text(f"'{path}'"), _text(f"'{local}'"))),
    (re.compile(rf"REMOVE {_QUOTED}", re.IGNORECASE),
     lambda self, _, path: self.files.link("REMOVE", _text(f"'{path}'"), None)),
    (re.compile(rf"LIST {_QUOTED}", re.IGNORECASE), lambda self, _, path: self.files.list(_text(f"'{path}'"))),
    (re.compile(r"SET TIME ZONE 'UTC'"), lambda *_: pa.table({})),
    (re.compile(r"SELECT current_catalog\(\), current_schema\(\)", re.IGNORECASE), Warehouse._where),  # noqa: SLF001
)  # fmt: skip
