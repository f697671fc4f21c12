"""The present of a table, held against what the last load saw of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import capture_fingerprint as text
from airflow_elt_provider.connectors.postgres.additions import shape
from airflow_elt_provider.connectors.postgres.capture_fingerprint import KeyText
from airflow_elt_provider.connectors.postgres.catalog import KINDS, Relation, query_rows
from airflow_elt_provider.connectors.postgres.epoch import read_epoch
from airflow_elt_provider.connectors.postgres.fingerprint_basis import (
    BY_CONTENT,
    BY_VERSION,
    Basis,
    Moment,
    find_basis,
    of_same_place,
)
from airflow_elt_provider.connectors.postgres.fingerprint_scan import Scanned, estimated_rows, scan_table
from airflow_elt_provider.connectors.postgres.row_versions import snapshot_xmin
from airflow_elt_provider.connectors.postgres.selection import select_columns
from airflow_elt_provider.connectors.postgres.session import PG_11
from airflow_elt_provider.core.buckets import Buckets
from airflow_elt_provider.core.capture import Fingerprint
from airflow_elt_provider.core.checkpoint import Position, SnapshotPosition
from airflow_elt_provider.core.fingerprints import State, narrower
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import Memory, Outcome
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class Comparison:
    """The present, held against the last load.

    :param wanted: how the buckets of the next state file are told.
    """

    moment: Moment
    key: KeyText
    wanted: Buckets
    basis: Basis
    position: Position
    since: Position | None

    @property
    def scanned_as(self) -> Buckets:
        """Buckets from which those of the last load and of the next one can both be made."""
        known = self.basis.buckets if self.basis.state else None
        return narrower(known, self.wanted) if known else self.wanted

    @property
    def many_tables(self) -> bool:
        """Whether rows come from more than one table."""
        return self.moment.relation.kind == "p" or self.moment.relation.inherited

    @property
    def row_hash(self) -> str:
        """What is summed up."""
        if self.moment.by == BY_CONTENT:
            return text.content_hash(self.moment.selection)
        return self.key.version_hash(many_tables=self.many_tables)

    def scan(self, condition: str = "true") -> Scanned:
        """Read the fingerprints."""
        moment = self.moment
        rows = f"FROM {moment.relation.from_item} WHERE {moment.where} AND {condition}"
        old = f"NOT {self.basis.new}" if self.basis.new else "false"
        return scan_table(moment.connection, self.key, self.scanned_as, self.row_hash, rows, old)

    def snapshot(self, rows: int) -> SnapshotPosition:
        """Return where the stream stands after this snapshot."""
        moment = self.moment
        return SnapshotPosition(str(moment.present.epoch), moment.xmin, moment.by, self.wanted, None, rows)

    def outcome(self, scanned: Scanned) -> Outcome:
        """Return position and state file."""
        now = scanned.told_as(self.wanted).now
        position = replace(self.position, snapshot=self.snapshot(now.rows))
        return Outcome(position, State(now, self.moment.facts).to_bytes())


def compare(
    connection: Connection, relation: Relation, extraction: Extraction, since: Position | None, memory: Memory | None
) -> Comparison:
    """Find out what there is to compare.

    :raises ConfigurationError: where the capture does not fit the relation, or the checkpoint is another load's.
    """
    capture = extraction.capture
    assert isinstance(capture, Fingerprint)  # noqa: S101 - nobody else comes here
    selection = select_columns(relation, extraction)
    _refuse(connection, relation, extraction, selection.schema.primary_key)
    present = read_epoch(connection, relation)
    by = _by(capture, relation, extraction, heap=present.heap)
    moment = Moment(connection, relation, extraction, selection, present, snapshot_xmin(connection), by)
    position = Position(
        capture.name, relation.identity, selection.schema.primary_key, selection.names, relation.last_column,
        shape=shape(relation, selection),
    )  # fmt: skip
    since = of_same_place(since, position, present.epoch)
    if since:
        since.refuse_change(position, extraction.stream)
    encoding = query_rows(connection, "SELECT pg_catalog.current_setting('server_encoding')")[0][0]
    key = KeyText.of(selection, extraction.masked_columns, encoding)
    before = since.snapshot.buckets if since and since.snapshot else None
    wanted = key.buckets(estimated_rows(connection, relation.from_item), capture.bucket_rows, before)
    basis = find_basis(moment, since, memory.state if memory else None, wanted)
    return Comparison(moment, key, wanted, basis, position, since)


def _refuse(connection: Connection, relation: Relation, extraction: Extraction, key: Sequence[str]) -> None:
    if not key:
        raise ConfigurationError(
            f"{extraction.source}: capture='fingerprint' needs a key, and this {KINDS[relation.kind]} has none.",
            hint="name its columns with primary_key=[...]",
        )
    if connection.server_version < PG_11:
        raise ConfigurationError(
            f"{extraction.source}: capture='fingerprint' needs PostgreSQL 11 or newer.", hint="use capture='full'"
        )


def _by(capture: Fingerprint, relation: Relation, extraction: Extraction, *, heap: bool) -> str:
    if capture.by == BY_VERSION and not heap:
        raise ConfigurationError(
            f"{extraction.source}: row versions of a {KINDS[relation.kind]} tell nothing, or not everything.",
            hint="use Fingerprint(by='content'), or 'auto'",
        )
    return BY_VERSION if heap and capture.by != BY_CONTENT else BY_CONTENT
