"""What the last load left to compare with, and how far it can be trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.additions import Additions, find_additions, find_renamed
from airflow_elt_provider.connectors.postgres.capture_fingerprint import timeless
from airflow_elt_provider.connectors.postgres.catalog import Relation
from airflow_elt_provider.connectors.postgres.epoch import Epoch, Present
from airflow_elt_provider.connectors.postgres.meanings import altered, column_meanings, read_meanings
from airflow_elt_provider.connectors.postgres.row_versions import in_reach, maybe_new_here
from airflow_elt_provider.connectors.postgres.selection import Selection
from airflow_elt_provider.core.buckets import Buckets
from airflow_elt_provider.core.checkpoint import Position, SnapshotPosition
from airflow_elt_provider.core.fingerprints import State, comparable
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.errors import ConfigurationError

BY_VERSION: Final = "xmin"
BY_CONTENT: Final = "content"


@dataclass(frozen=True)
class Moment:
    """What is known of the open snapshot before the table is scanned.

    :param xmin: 64-bit.
    :param by: what stands for a row's content.
    """

    connection: Connection
    relation: Relation
    extraction: Extraction
    selection: Selection
    present: Present
    xmin: int
    by: str = BY_VERSION

    @property
    def where(self) -> str:
        """The user's predicate; on lines of its own, so that it may end in a comment."""
        return f"(\n{self.extraction.where}\n)" if self.extraction.where else "true"

    @cached_property
    def facts(self) -> dict[str, str]:
        """What a state file keeps beside the fingerprints."""
        followed = "" if self.extraction.deletes is DeleteMode.IGNORE else "yes"
        return {
            "where": self.extraction.where or "", "deletes": followed,
            "columns": json.dumps(column_meanings(self.selection), sort_keys=True),
            "meanings": json.dumps(read_meanings(self.connection, self.relation), sort_keys=True),
        }  # fmt: skip


@dataclass(frozen=True)
class Basis:
    """The last load, as far as it can be compared with.

    :param state: None where nothing can be compared, and everything is read.
    :param reason: why that is so; "" for a first load.
    :param new: the condition for rows that the last snapshot may not have seen; "" where their versions do not tell, so
        that changed buckets have to be read whole.
    """

    state: State | None = None
    snapshot: SnapshotPosition | None = None
    reason: str = ""
    new: str = ""
    additions: Additions = field(default_factory=Additions)
    notes: tuple[str, ...] = ()

    @property
    def buckets(self) -> Buckets | None:
        """How the buckets of its fingerprints are told."""
        return self.snapshot.buckets if self.snapshot else None


def find_basis(moment: Moment, since: Position | None, state: bytes | None, wanted: Buckets) -> Basis:
    """Decide what the present can be compared with.

    :raises ConfigurationError: when another database's rows would be taken for these.
    """
    snapshot = since.snapshot if since else None
    if since is None or snapshot is None:
        return Basis()
    before = Epoch.parse(snapshot.epoch)
    if before:
        refuse_other_place(moment, before)
    known = State.from_bytes(state) if state is not None else None
    if before is None or known is None or snapshot.buckets is None:
        return Basis(reason="the state file of the last load is gone")
    reason = (
        "" if comparable(snapshot.buckets, wanted) else "the key has another type or another name"
    ) or _incomparable(moment, since, snapshot, before) or _stale(moment, known)  # fmt: skip
    if reason:
        renamed = find_renamed(moment.relation, moment.selection, since)
        return Basis(reason=reason, additions=Additions(renamed=renamed))
    if moment.by == BY_CONTENT:
        return Basis(known, snapshot)
    return _by_version(moment, since, snapshot, before, known)


def _by_version(moment: Moment, since: Position, snapshot: SnapshotPosition, before: Epoch, known: State) -> Basis:
    new, notes = newer(moment, before, maybe_new_here(moment.connection, snapshot.xmin)), []
    doubt = _doubt(moment, snapshot, before, known)
    if doubt:
        new = ""
        notes.append(f"{doubt}: reading changed buckets whole")
    old = f"{moment.where} AND NOT ({new})" if new else moment.where
    additions = find_additions(moment.connection, moment.relation, moment.selection, since, old)
    if additions.call_for_everything:
        reason = additions.notes(WriteMode.MERGE)[0].removesuffix(": reading the whole table once")
        return Basis(reason=reason, additions=Additions(renamed=additions.renamed))
    return Basis(known, snapshot, "", new, additions, tuple(notes))


def newer(moment: Moment, before: Epoch, maybe_new: str) -> str:
    """Return the condition for rows that a snapshot may not have seen, tables that came since included."""
    tables = moment.present.epoch.new_tables(before)
    attached = f" OR tableoid IN ({', '.join(map(str, tables))})" if tables else ""
    return f"({maybe_new}{attached})"


def refuse_other_place(moment: Moment, before: Epoch) -> None:
    """Refuse another database of the same name, where the server's own identifier does not tell.

    :raises ConfigurationError: gives both oids.
    """
    now, extraction = moment.present.epoch, moment.extraction
    if not (now.system and before.system) and now.database != before.database:
        raise ConfigurationError(
            f"{extraction.source}: the connection leads to another database than at the last load (of the same name, "
            f"with oid {now.database} instead of {before.database}).",
            hint="correct the connection; if the database was restored, run once with full_refresh=True",
        )


def of_same_place(since: Position | None, position: Position, present: Epoch) -> Position | None:
    """Return the last position as if its server had the present one's identifier, if that is an upgrade of it.

    ``pg_upgrade`` makes a new cluster, in which tables keep their oids.
    """
    before = Epoch.parse(since.snapshot.epoch) if since and since.snapshot else None
    if since is None or before is None or not before.system or before.system == present.system:
        return since
    same = since.source.partition("/")[2] == position.source.partition("/")[2]
    upgraded = same and present.server > before.server and present.relation == before.relation
    return replace(since, source=position.source) if upgraded else since


def _incomparable(moment: Moment, since: Position, snapshot: SnapshotPosition, before: Epoch) -> str:
    now = moment.present.epoch
    if snapshot.by != moment.by:
        return f"the last load compared by {snapshot.by}, this one by {moment.by}"
    if moment.by == BY_CONTENT:
        other = "other columns are read" if since.columns != moment.selection.names else ""
        return now.other_hashes(before) or other
    reason = now.other_versions(before)
    if reason or in_reach(snapshot.xmin, moment.xmin):
        return reason
    if moment.xmin < snapshot.xmin:
        return "" if moment.present.standby else "the server is behind the last load: it was restored"
    return "more transactions have passed than row versions can count"


def _stale(moment: Moment, known: State) -> str:
    """Return what the target has otherwise than a load from the beginning would leave it; "" for nothing."""
    if moment.extraction.deletes is not DeleteMode.IGNORE and not known.facts.get("deletes"):
        return "deletes were not followed until now"
    for name in ("meanings", "columns") if moment.by == BY_VERSION else ("columns",):
        before, now = (json.loads(facts.get(name, "{}")) for facts in (known.facts, moment.facts))
        reason = altered(before, now)
        if reason:
            return reason
    return ""


def _doubt(moment: Moment, snapshot: SnapshotPosition, before: Epoch, known: State) -> str:
    """Return why a row that is new here may have an old version; "" where it cannot."""
    if moment.present.epoch.boot != before.boot or moment.xmin < snapshot.xmin:
        return "the server was started anew, or is another one of the same cluster"
    if moment.relation.row_security:
        return "row security decides which rows are seen"
    if not moment.selection.schema.key_enforced:  # a second row of a key would be taken for the first one, changed
        return "the source does not keep the key unique"
    where = moment.extraction.where or ""
    if where != known.facts.get("where", ""):
        return "where is another one"
    if not timeless(where, [column.name for column in moment.relation.columns]):
        return "where may come true with time"
    return ""
