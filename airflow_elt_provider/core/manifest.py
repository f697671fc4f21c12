"""What a load consists of. Written last, so that a load either has a manifest or does not exist."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.partition import Partition
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.core.schema import EXTRA_COLUMNS, Column, TableSchema
from airflow_elt_provider.core.staged_file import Role, StagedFile
from airflow_elt_provider.core.system_columns import EXACT, OP
from airflow_elt_provider.errors import ConfigurationError, DataError

FORMAT_VERSION: Final = 1


@dataclass(frozen=True)
class ManifestRef:
    """What extract hands to the next step: small enough for XCom.

    :param sha256: of the manifest's bytes; "" where a user typed the URI and it is not known.
    """

    uri: str
    sha256: str = ""
    load_id: str = ""
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the manifest reference of the operators' documentation."""
        value = asdict(self)
        return {"manifest": value.pop("uri"), **value}

    @classmethod
    def from_json(cls, value: dict[str, Any] | str) -> ManifestRef:
        """Read a reference, or a literal URI.

        :raises ConfigurationError: for anything else.
        """
        if isinstance(value, str):
            return cls(value)
        try:
            rest = {key: item for key, item in value.items() if key != "manifest"}
            return cls(value["manifest"], **rest)
        except (KeyError, TypeError):
            raise ConfigurationError(
                f"{value!r} is not a manifest reference.", hint="pass the extract task's output, or the manifest's URI"
            ) from None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that merging a load needs to know, so that no later step asks the source.

    :param base_version: version of the checkpoint that the load goes on from; 0 for none. None: the load neither
        reads nor moves the checkpoint (interval loads, and cleared runs that later runs have overtaken).
    :param next_position: the checkpoint's position once this load is merged.
    :param files: what is staged, in the order in which it was written.
    :param quarantine: rows that were set aside.
    :param complete: whether the files hold the whole table, so that a key that is absent was deleted.
    :param buckets: how the keyset's buckets are told, where there is one.
    :param unchanged: sets of columns that some rows do not bring, see ``OP``.
    :param source_rows: how many rows the source has, where the capture knows.
    :param as_of: the time of the source's snapshot by its own clock, ISO 8601 with time zone.
    :param created_at: when the extract began, by our clock, likewise.
    :param interval: the part of the target that ``append`` and ``replace`` exchange for these rows.
    :param replaces: ids of earlier loads whose appended rows this one takes the place of.
    :param backfill: column -> text of the value that rows written before it was added have; None for NULL.
    :param renamed: column -> the name that the target has for it, where the source renamed it since.
    :param former_key: the key that the stream had so far, where it is known.
    :param cursor: name of the cursor column in the target, or "".
    :param plan: hash of the extraction's parameters; a manifest made with others is not reused.
    :param partition: the range of keys that was read, where the others are in manifests of their own.
    :param consistent: whether all rows are of one snapshot. Of several, the next load brings what moved meanwhile.
    """

    load_id: str
    run_key: str
    stream: str
    source: str
    mode: WriteMode
    deletes: DeleteMode
    schema: TableSchema
    files: tuple[StagedFile, ...]
    base_version: int | None
    next_position: Position
    base_position: Position | None = None
    complete: bool = False
    interval: Interval | None = None
    replaces: tuple[str, ...] = ()
    backfill: Mapping[str, str | None] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    former_key: tuple[str, ...] = ()
    cursor: str = ""
    full_refresh: bool = False
    plan: str = ""
    source_facts: Mapping[str, str] = field(default_factory=dict)
    created_at: str = ""
    quarantine: tuple[StagedFile, ...] = ()
    buckets: Buckets | None = None
    unchanged: tuple[tuple[str, ...], ...] = ()
    source_rows: int | None = None
    as_of: str = ""
    partition: Partition | None = None
    consistent: bool = True

    @property
    def rows(self) -> int:
        """Rows of all files: what the staging table holds."""
        return sum(file.rows for file in self.files)

    def rows_of(self, *roles: Role) -> int:
        """Rows of the files of some roles."""
        return sum(file.rows for file in self.files if file.role in roles)

    @property
    def upserts(self) -> int:
        """Rows as they are now."""
        return self.rows_of(Role.UPSERT, Role.EXTERNAL)

    @property
    def external(self) -> tuple[StagedFile, ...]:
        """The customer's own files."""
        return tuple(file for file in self.files if file.role is Role.EXTERNAL)

    @property
    def ours(self) -> tuple[StagedFile, ...]:
        """The files that were written for this load."""
        return tuple(file for file in (*self.files, *self.quarantine) if file.role is not Role.EXTERNAL)

    @property
    def changes(self) -> int:
        """Rows that are now, and keys that are gone: what a user calls extracted."""
        return self.rows_of(Role.UPSERT, Role.EXTERNAL, Role.DELETE)

    @property
    def quarantined(self) -> int:
        """Rows that were set aside."""
        return sum(file.rows for file in self.quarantine)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def extra_columns(self) -> tuple[Column, ...]:
        """What the files hold besides the table's columns."""
        found = {name for file in self.files for name in file.extra}
        return tuple(column for column in EXTRA_COLUMNS if column.name in found)

    @property
    def has_exact(self) -> bool:
        """Whether any file has the column of exceptional values."""
        return any(EXACT in file.extra for file in self.files)

    @property
    def has_ops(self) -> bool:
        """Whether some staged rows are no plain rows of the table."""
        return any(OP in file.extra for file in self.files)

    @property
    def takes_away(self) -> bool:
        """Whether a load that is not complete may say of rows that they are gone.

        One bucket of all keys has changed when anything is staged, or when the source is empty.
        """
        of_all = self.buckets is not None and self.buckets.kind is BucketKind.ALL
        return bool(self.rows_of(Role.DELETE, Role.KEYSET) or (of_all and (self.upserts or self.source_rows == 0)))

    @property
    def changes_nothing(self) -> bool:
        """Whether merging would leave the target and the checkpoint as they are."""
        moves = self.base_version is not None and self.next_position != self.base_position
        moves = moves and not self.next_position.is_blank
        takes_away = self.complete or self.interval is not None or self.replaces or self.backfill or self.full_refresh
        return not (self.rows or self.quarantine or moves or takes_away)

    def to_bytes(self) -> bytes:
        """Return the JSON text that :meth:`from_bytes` reads."""
        value = {
            **asdict(self), "schema": self.schema.to_json(), "next_position": self.next_position.to_json(),
            "base_position": self.base_position.to_json() if self.base_position else None,
            "backfill": dict(self.backfill), "renamed": dict(self.renamed),
            "source_facts": dict(self.source_facts), "v": FORMAT_VERSION,
            "partition": self.partition.to_json() if self.partition else None,
        }  # fmt: skip
        return json.dumps(value, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, ref: ManifestRef) -> Manifest:
        """Read a manifest and hold it against its reference.

        :raises DataError: when the bytes are not the ones the reference speaks of, or no manifest at all.
        """
        if ref.sha256 and hashlib.sha256(data).hexdigest() != ref.sha256:
            raise DataError(f"{ref.uri} is not the manifest that was extracted: its sha256 differs.", hint=_AGAIN)
        try:
            value = json.loads(data)
            version = value.pop("v")
            if version != FORMAT_VERSION:
                raise DataError(
                    f"{ref.uri} has manifest format {version}, this version reads {FORMAT_VERSION}.", hint=_AGAIN
                )
            return cls._from_json(value)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{ref.uri} is not a manifest ({error}).", hint=_AGAIN) from error

    @classmethod
    def _from_json(cls, value: dict[str, Any]) -> Manifest:
        base, interval = value["base_position"], value["interval"]
        for load_id in (value["load_id"], *value["replaces"]):
            if not _LOAD_ID.fullmatch(load_id):
                raise ValueError(f"{load_id!r} is no load id")
        buckets, partition = value["buckets"], value.get("partition")
        return cls(**{
            **value,
            "mode": WriteMode(value["mode"]), "deletes": DeleteMode(value["deletes"]),
            "files": _files(value["files"]), "quarantine": _files(value["quarantine"]),
            "schema": TableSchema.from_json(value["schema"]), "former_key": tuple(value.get("former_key", ())),
            "buckets": Buckets.from_json(buckets) if buckets else None,
            "partition": Partition.from_json(partition) if partition else None,
            "unchanged": tuple(map(tuple, value["unchanged"])),
            "next_position": Position.from_json(value["next_position"]),
            "base_position": Position.from_json(base) if base else None,
            "interval": Interval(**interval) if interval else None, "replaces": tuple(value["replaces"]),
        })  # fmt: skip


def _files(values: list[dict[str, Any]]) -> tuple[StagedFile, ...]:
    return tuple(map(StagedFile.from_json, values))


_LOAD_ID: Final = re.compile("[0-9a-f]{32}")
"""It stands in statements and in names of tables."""
_AGAIN: Final = "clear the load from its extract task on"
