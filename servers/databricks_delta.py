"""What the stand-in for Databricks does to Delta tables by itself, with delta-rs: what Sail cannot.

COPY INTO with its log of loaded files, ALTER TABLE, DESCRIBE and SHOW TBLPROPERTIES.  The Delta log is real; these
statements are our reading of Databricks's documentation.  A change that Delta makes in the table's metadata alone
(RENAME COLUMN, DROP COLUMN, a wider TYPE) rewrites the table here, in one commit.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import deltalake
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
from deltalake.schema import Field, PrimitiveType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES: Final = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}
"""Types of a Delta schema that Databricks spells otherwise."""
NEEDS_MAPPING: Final = re.compile(r"[ ,;{}()\n\t=]")
_WIDER: Final = {
    "tinyint": "smallint int bigint double", "smallint": "int bigint double", "int": "bigint double", "float": "double",
}  # fmt: skip
_DECIMAL: Final = re.compile(r"decimal\((\d+),(\d+)\)")
_WHOLE: Final = {"tinyint": 10, "smallint": 10, "int": 10, "bigint": 20}


class SqlError(Exception):
    """An error as Databricks words it: its class in brackets, a sentence, and the SQLSTATE."""

    def __init__(self, name: str, text: str, state: str) -> None:
        super().__init__(f"[{name}] {text} SQLSTATE: {state}")
        self.state = state


@dataclass
class Table:
    """One Delta table.

    `loaded` are the files that COPY INTO brought in, which it skips from then on.
    """

    path: Path
    properties: dict[str, str] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def delta(self) -> deltalake.DeltaTable:
        """The table as it is now."""
        return deltalake.DeltaTable(str(self.path))

    @property
    def columns(self) -> dict[str, str]:
        """Names and types, as Databricks spells them."""
        fields = json.loads(self.delta.schema().to_json())["fields"]
        return {each["name"]: NAMES.get(each["type"], each["type"]) for each in fields}

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the commits' info, newest first."""
        logs = sorted((self.path / "_delta_log").glob("*.json"), reverse=True)[:limit]
        return [{"version": int(log.stem), **_commit_info(log)} for log in logs]

    @property
    def version(self) -> int:
        """Its newest commit, -1 before the first."""
        return next((each["version"] for each in self.history(1)), -1)

    # --- ALTER TABLE ---

    def add_column(self, name: str, type_: str) -> None:
        """ADD COLUMN."""
        if name.lower() in map(str.lower, self.columns):
            raise SqlError("FIELD_ALREADY_EXISTS", f"Cannot add column, because `{name}` already exists.", "42710")
        self.check_names([name])
        spelled = {spoken: delta for delta, spoken in NAMES.items()}.get(type_.lower(), type_.lower())
        self.delta.alter.add_columns([Field(name, PrimitiveType(spelled))])

    def rename(self, old: str, new: str) -> None:
        """RENAME COLUMN."""
        self._mapped("DELTA_UNSUPPORTED_RENAME_COLUMN", "rename")
        rows = self.delta.to_pyarrow_table()
        self._rewrite(rows.rename_columns([new if name == self._own(old) else name for name in rows.column_names]))

    def drop_column(self, name: str) -> None:
        """DROP COLUMN."""
        self._mapped("DELTA_UNSUPPORTED_DROP_COLUMN", "drop")
        self._rewrite(self.delta.to_pyarrow_table().drop_columns([self._own(name)]))

    def widen(self, name: str, type_: str) -> None:
        """ALTER COLUMN TYPE, to a type that holds more."""
        name, type_ = self._own(name), type_.lower().replace(" ", "")
        current = self.columns[name]
        if self.properties.get("delta.enableTypeWidening") != "true" or not _holds(type_, current):
            raise SqlError(
                "DELTA_UNSUPPORTED_ALTER_TABLE_CHANGE_COL_OP",
                f"ALTER TABLE CHANGE COLUMN is not supported for changing column {name} from {current} to {type_}.",
                "42837",
            )
        rows = self.delta.to_pyarrow_table()
        at = rows.column_names.index(name)
        self._rewrite(rows.set_column(at, name, rows[name].cast(arrow_type(type_))))

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """SET TBLPROPERTIES."""
        self.properties.update(properties)
        self.delta.alter.set_table_properties({"elt.changed": json.dumps(properties)}, raise_if_not_exists=False)

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse what Delta refuses without column mapping."""
        bad = next((name for name in names if NEEDS_MAPPING.search(name)), None)
        if bad and not self.mapped:
            raise SqlError(
                "DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES", f"Found invalid character(s) in the column name {bad}.",
                "42K05",
            )  # fmt: skip

    @property
    def mapped(self) -> bool:
        """Whether its columns are mapped by name."""
        return self.properties.get("delta.columnMapping.mode") == "name"

    def _mapped(self, error: str, what: str) -> None:
        if not self.mapped:
            raise SqlError(error, f"Column {what} is not supported for your Delta table: enable mapping.", "0AKDC")

    def _own(self, name: str) -> str:
        found = next((own for own in self.columns if own.lower() == name.lower()), None)
        if found is None:
            raise SqlError("UNRESOLVED_COLUMN.WITH_SUGGESTION", f"Column `{name}` cannot be resolved.", "42703")
        return found

    def _rewrite(self, rows: pa.Table) -> None:
        deltalake.write_deltalake(self.delta, rows, mode="overwrite", schema_mode="overwrite")

    # --- COPY INTO ---

    def copy(self, files: Files, place: str, names: Sequence[str], *, merge: bool) -> int:
        """Append the files that were not loaded yet and return how many rows they had."""
        filesystem, root = files.open(place)
        paths = [f"{root}/{name}" for name in names]
        new = [path for path in paths if path not in self.loaded]
        schema = self.delta.to_pyarrow_dataset().schema
        parts = [_fitting(_read(filesystem, path, place), schema) for path in new]
        if not merge and len({tuple(part.column_names) for part in parts}) > 1:
            # Databricks takes the schema of one of the files, and loses the columns that only others have.
            parts = [part.select(parts[0].column_names) for part in parts]
        if parts:
            rows = pa.concat_tables([_complete(part, schema) for part in parts])
            deltalake.write_deltalake(self.delta, rows, mode="append")
        self.loaded.update(new)
        return sum(part.num_rows for part in parts)


@dataclass(frozen=True)
class Files:
    """Where paths lead: s3:// to an emulator, gs:// and /Volumes/ into folders, which have URLs, too."""

    s3: Mapping[str, str]
    folders: Mapping[str, str]
    url: str = ""

    def local(self, place: str) -> Path:
        """Return the file that a path means. :raises SqlError: when it is in no folder."""
        for prefix, folder in self.folders.items():
            if place.startswith(prefix):
                return Path(folder) / place.removeprefix(prefix).strip("/")
        raise SqlError("NO_PARENT_EXTERNAL_LOCATION_FOR_PATH", f"No external location was found for {place}.", "42KDC")

    def link(self, operation: str, place: str, local: str | None) -> pa.Table:
        """Return where a client may put or remove a file."""
        self.local(place)
        return pa.table({
            "operation": [operation], "presignedUrl": [f"{self.url}{quote(place)}"], "headers": ["{}"],
            "localFile": pa.array([local], pa.string()),
        })  # fmt: skip

    def list(self, place: str) -> pa.Table:
        """Return what is in a folder."""
        folder = self.local(place)
        if not folder.is_dir():
            raise SqlError("PATH_NOT_FOUND", f"Path does not exist: {place}.", "42K03")
        names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
        paths = [f"{place.rstrip('/')}/{name}" for name in names]
        return pa.table({"path": pa.array(paths, pa.string()), "name": pa.array(names, pa.string())})

    def open(self, place: str) -> tuple[pa.fs.FileSystem, str]:
        """Return the file system of a path and the path in it."""
        if place.startswith("s3://"):
            s3 = pa.fs.S3FileSystem(
                endpoint_override=self.s3["endpoint"], access_key=self.s3["access_key"],
                secret_key=self.s3["secret_key"], region="us-east-1", scheme="http", force_virtual_addressing=False,
            )  # fmt: skip
            return s3, place.removeprefix("s3://").rstrip("/")
        return pa.fs.LocalFileSystem(), str(self.local(place))


def _read(filesystem: pa.fs.FileSystem, path: str, place: str) -> pa.Table:
    try:
        found = pa.parquet.read_table(path, filesystem=filesystem, partitioning=None)
    except FileNotFoundError as error:
        raise SqlError("PATH_NOT_FOUND", f"Path does not exist: {place} ({path}).", "42K03") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise SqlError("FAILED_READ_FILE.NO_HINT", f"Error while reading file {path}.", "KD001") from error
    times = [each.name for each in found.schema if pa.types.is_time(each.type)]
    if times:
        raise SqlError("PARQUET_TYPE_ILLEGAL", f"Illegal Parquet type: INT64 (TIME(MICROS,true)) {times}.", "42846")
    return found


def _fitting(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    extra = sorted(set(rows.column_names) - set(schema.names))
    if extra:
        raise SqlError("DELTA_METADATA_MISMATCH", f"A schema mismatch was detected: {extra} is new.", "42KDG")
    return rows


def _complete(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        rows[each.name].cast(each.type) if each.name in rows.column_names else pa.nulls(rows.num_rows, each.type)
        for each in schema
    ]
    return pa.table(columns, schema=schema)


def arrow_type(type_: str) -> pa.DataType:
    """Return the Arrow type of a type that a column may be widened to."""
    if found := _DECIMAL.fullmatch(type_):
        return pa.decimal128(int(found[1]), int(found[2]))
    return {"smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64(), "double": pa.float64()}[type_]


def _holds(wide: str, narrow: str) -> bool:
    after, before = _DECIMAL.fullmatch(wide), _DECIMAL.fullmatch(narrow)
    if after and before:
        whole = int(after[1]) - int(after[2]) - int(before[1]) + int(before[2])
        return whole >= 0 and int(after[2]) >= int(before[2])
    if after:
        return narrow in _WHOLE and int(after[1]) - int(after[2]) >= _WHOLE[narrow]
    return wide in _WIDER.get(narrow, "").split()


def _commit_info(log: Path) -> dict[str, Any]:
    for line in log.read_text().splitlines():
        found: dict[str, Any] | None = json.loads(line).get("commitInfo")
        if found:
            return found
    return {}
