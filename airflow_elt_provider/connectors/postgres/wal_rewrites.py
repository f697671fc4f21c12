"""Tables that were written anew: ``ALTER TABLE ... TYPE ... USING`` changes rows, and the log does not tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import Relation, query_rows
from airflow_elt_provider.connectors.postgres.row_versions import maybe_new
from airflow_elt_provider.core.checkpoint import Position

_FILE: Final = "SELECT COALESCE(pg_catalog.pg_relation_filenode(%s), 0)::int8"
_ALTERED: Final = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid = {oid} AND attnum BETWEEN 1 AND {last} AND NOT attisdropped AND {maybe_new})
"""


@dataclass(frozen=True)
class Storage:
    """Where a table's rows lie. TRUNCATE and VACUUM FULL move them too; one is in the log, the other changes nothing.

    :param file: number of the file; 0 for a partitioned table, whose partitions' files the publication's identity has.
    :param altered: whether a column that was there at the checkpoint may have been altered since.
    """

    file: int
    altered: bool

    def rewritten_since(self, file: str) -> bool:
        """Whether rows may have other values than they had in that file, without a word in the log."""
        return self.altered and file != str(self.file)


def read_storage(connection: Connection, relation: Relation, since: Position | None) -> Storage:
    """Ask the catalog: an ``ALTER`` that rewrites a column leaves a new file and a new version of its entry."""
    file = int(query_rows(connection, _FILE, (relation.oid,))[0][0])
    if since is None or since.snapshot is None:
        return Storage(file, altered=False)
    sql = _ALTERED.format(oid=relation.oid, last=since.columns_seen, maybe_new=maybe_new(since.snapshot.xmin))
    return Storage(file, bool(query_rows(connection, sql)[0][0]))
