"""One unit of work and its identity."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow_elt_provider.core.checks import RowCheck
from airflow_elt_provider.core.in_place import LentFile
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Merging
from airflow_elt_provider.core.quarantine import RefusedRow
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.core.table_ref import TableRef

Lend: TypeAlias = Callable[[StagedFile], AbstractContextManager[LentFile]]
"""Opens a file that is read where it lies."""


@dataclass(frozen=True)
class RunIdentity:
    """Which run of which task a load belongs to.

    :param generation: the same for all retries of a run, another one after a user cleared the task.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    generation: int = 0

    def run_key(self, stream: str) -> str:
        """Return what all loads of this stream in this DAG run have in common, as 32 hex digits."""
        return _digest(stream, self.dag_id, self.run_id)

    def load_id(self, stream: str) -> str:
        """Return the id of this generation's load, as 32 hex digits."""
        return self._load_id(stream, self.generation)

    def earlier_load_ids(self, stream: str) -> tuple[str, ...]:
        """Return the ids that this task's loads would have had before it was cleared, oldest first."""
        return tuple(self._load_id(stream, generation) for generation in range(self.generation))

    def _load_id(self, stream: str, generation: int) -> str:
        return _digest(self.run_key(stream), self.task_id, str(self.map_index), str(generation))


def _digest(*parts: str) -> str:
    # Length-prefixed, so that no two lists of parts run together to the same text.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def combined_load_id(load_ids: Iterable[str]) -> str:
    """Return the id of the load that several make up, in whichever order they come."""
    return _digest("combined", *sorted(load_ids))


def new_nonce() -> str:
    """Return a name for one attempt, as 8 hex digits that no other attempt has."""
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Piece:
    """One of the staging tables of a load that was staged in several.

    :param load_id: under which it was staged.
    :param table: its name.
    :param extra: the columns that it has besides the table's.
    """

    load_id: str
    table: str
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """A manifest on its way into a target.

    :param staging: name of this attempt's staging table, or "" where the destination reads the files in place.
    :param set_aside: writes rows that cannot be taken to a file beside the load and returns its URI; None where nobody
        is there to do it: then such rows fail the load.
    :param lend: opens one of the load's external files; None where nobody can.
    :param pieces: the staging tables of a load that was staged in several; ``staging`` is empty then.
    """

    manifest: Manifest
    manifest_ref: ManifestRef
    merging: Merging
    staging: str = ""
    nonce: str = field(default_factory=new_nonce)
    set_aside: Callable[[Sequence[RefusedRow]], str] | None = field(default=None, repr=False, compare=False)
    pieces: tuple[Piece, ...] = ()
    lend: Lend | None = field(default=None, repr=False, compare=False)

    @property
    def load_id(self) -> str:
        """The load's id."""
        return self.manifest.load_id

    @property
    def staging_tables(self) -> tuple[str, ...]:
        """Names of the staging tables: mostly one, none where the files are read in place."""
        return tuple(piece.table for piece in self.pieces) or ((self.staging,) if self.staging else ())

    @property
    def staged_by(self) -> tuple[str, ...]:
        """Ids of the loads by which the staging tables are known."""
        return tuple(dict.fromkeys(piece.load_id for piece in self.pieces)) or (self.load_id,)

    @property
    def target(self) -> TableRef:
        """The target table."""
        return self.merging.target

    @property
    def mode(self) -> WriteMode:
        """The write mode."""
        return self.manifest.mode

    @property
    def deletes(self) -> DeleteMode:
        """The delete mode."""
        return self.manifest.deletes

    @property
    def sets_aside(self) -> bool:
        """Whether rows that cannot be taken are left out, up to a limit.

        Never rows of a log: the next change of such a row repeats only what it changes, and would be merged into a row
        that lacks this one.
        """
        of_log = self.manifest.next_position.capture == "wal"
        return bool(self.set_aside and self.merging.guards.max_quarantined_rows) and not of_log

    @property
    def may_lose_rows(self) -> bool:
        """Whether rows may have to be left out of a target that takes all values."""
        schema = self.manifest.schema
        asks_key = bool(schema.primary_key) and not schema.key_enforced and self.mode is not WriteMode.APPEND
        asked = any(isinstance(check, RowCheck) and check.quarantine for check in self.merging.checks)
        return self.sets_aside and (asks_key or asked)


@dataclass(frozen=True)
class StagingRef:
    """What stage hands to merge: small enough for XCom.

    :param staging: the staging table's name, or "" where the files are read in place.
    :param seconds: how long extract (where known) and stage took.
    """

    manifest: ManifestRef
    target: str
    staging: str
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return {
            "manifest": self.manifest.to_json(), "target": self.target, "staging": self.staging,
            "seconds": self.seconds,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StagingRef:
        """Read what :meth:`to_json` wrote."""
        return cls(ManifestRef.from_json(value["manifest"]), value["target"], value["staging"], value["seconds"])
