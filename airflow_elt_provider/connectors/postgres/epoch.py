"""What has to be the same for row versions of two snapshots to be comparable."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import Relation, query_rows
from airflow_elt_provider.connectors.postgres.session import PG_12

_ALLOWED: Final = """
SELECT COALESCE(has_function_privilege(to_regprocedure('pg_catalog.' || name), 'EXECUTE'), false)
FROM unnest(ARRAY['pg_control_system()', 'pg_control_checkpoint()', 'pg_current_wal_insert_lsn()']) name
"""
_SERVER: Final = """
SELECT {system}, {timeline}, d.oid::int8, current_setting('server_version_num')::int / 10000,
       extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""
_TABLES: Final = """
WITH RECURSIVE leaf(oid) AS (
    SELECT %s::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN leaf ON i.inhparent = leaf.oid)
SELECT c.oid::int8, c.relkind = 'r' AND COALESCE(am.amname = 'heap', true)
FROM leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind <> 'p' ORDER BY 1
"""
_TABLES_PG_11: Final = _TABLES.replace("COALESCE(am.amname = 'heap', true)", "true").replace(
    " LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam", ""
)


@dataclass(frozen=True)
class Epoch:
    """Identity of everything that makes row versions comparable. Empty and 0: the role may not know.

    :param system: the cluster's identifier.
    :param timeline: changes with a promotion, and with a restore to a point in time.
    :param database: oid.
    :param relation: oid of the table; 0 for a query.
    :param server: major version.
    :param boot: when the server started: another one is another start, or another server of the same cluster.
    :param tables: oids of the tables whose rows are read: the table, its partitions, its children.
    """

    system: str
    timeline: int
    database: int
    relation: int
    server: int
    boot: str
    tables: tuple[int, ...]

    def __str__(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Epoch | None:
        """Read what ``str()`` wrote; None for anything else."""
        try:
            value = json.loads(text)
            return cls(**{**{name.name: value[name.name] for name in fields(cls)}, "tables": tuple(value["tables"])})
        except (ValueError, KeyError, TypeError):
            return None

    def other_versions(self, before: Epoch) -> str:
        """Return why row versions of ``before`` say nothing about the present ones; "" where they do."""
        for name, text in _REASONS.items():
            mine, theirs = getattr(self, name), getattr(before, name)
            if mine and theirs and mine != theirs:
                return text
        return ""

    def other_hashes(self, before: Epoch) -> str:
        """Return why hashes of ``before`` cannot be compared with the present ones; "" where they can."""
        return _REASONS["server"] if self.server != before.server else ""

    def new_tables(self, before: Epoch) -> tuple[int, ...]:
        """Return the tables whose rows were not read then: partitions that were attached since."""
        return tuple(sorted(set(self.tables) - set(before.tables)))


_REASONS: Final = {
    "system": "the server is another one",
    "server": "the server has another major version",
    "timeline": "the server was restored or promoted (another timeline)",
    "database": "the database was made anew",
    "relation": "the table was made anew",
}


@dataclass(frozen=True)
class Present:
    """The epoch of the open transaction.

    :param heap: whether all rows are in ordinary tables, so that their versions tell what became of them.
    :param standby: whether the server follows another one, and may be behind a third.
    """

    epoch: Epoch
    heap: bool
    standby: bool = False


def read_epoch(connection: Connection, relation: Relation) -> Present:
    """Ask the server, as far as the role may."""
    system, checkpoint, lsn = (row[0] for row in query_rows(connection, _ALLOWED))
    recovering = bool(query_rows(connection, "SELECT pg_catalog.pg_is_in_recovery()")[0][0])
    sql = _SERVER.format(
        system="(SELECT system_identifier::text FROM pg_catalog.pg_control_system())" if system else "''",
        timeline=_timeline(checkpoint=checkpoint, lsn=lsn and not recovering),
    )
    found = query_rows(connection, sql)[0]
    tables: list[tuple[int, bool]] = []
    if relation.kind in "rp":
        pg_12 = connection.server_version >= PG_12
        tables = [
            (oid, heap) for oid, heap in query_rows(connection, _TABLES if pg_12 else _TABLES_PG_11, (relation.oid,))
        ]
    epoch = Epoch(found[0], found[1], found[2], relation.oid, found[3], found[4], tuple(oid for oid, _ in tables))
    return Present(epoch, relation.kind in "rp" and all(heap for _, heap in tables), recovering)


def _timeline(*, checkpoint: bool, lsn: bool) -> str:
    # The checkpoint's lags behind a promotion, but a standby has no other.
    if lsn:
        name = "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())"
        return f"('x' || pg_catalog.substr({name}, 1, 8))::bit(32)::int4"
    return "(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())" if checkpoint else "0"
