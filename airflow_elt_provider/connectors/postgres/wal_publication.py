"""Publications: which tables' changes a slot hands out, and whether it hands out all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import Relation, query_rows
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.selection import Selection
from airflow_elt_provider.connectors.postgres.session import PG_13, translate
from airflow_elt_provider.errors import ConfigurationError

_PG_18: Final = 180_000
_PUBLICATION: Final = """
SELECT pg_catalog.to_jsonb(p), p.oid::text || '.' || p.xmin::text FROM pg_catalog.pg_publication p WHERE pubname = %s
"""
_MEMBER: Final = """
SELECT pg_catalog.to_jsonb(t),
    (SELECT r.oid::text || '.' || r.xmin::text FROM pg_catalog.pg_publication_rel r
     JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = t.pubname AND r.prrelid = c.oid)
FROM pg_catalog.pg_publication_tables t
JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
WHERE t.pubname = %s AND c.oid = %s
"""
_LEAVES: Final = """
WITH RECURSIVE leaf(oid) AS (
    SELECT %s::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN leaf ON i.inhparent = leaf.oid)
SELECT c.oid::regclass::text, c.relreplident, COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0)::int8, array(
    SELECT a.attname::text FROM pg_catalog.pg_index x
    JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY(x.indkey::int2[])
    WHERE x.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN x.indisprimary ELSE x.indisreplident END)
FROM leaf JOIN pg_catalog.pg_class c ON c.oid = leaf.oid WHERE c.relkind <> 'p' ORDER BY c.oid
"""
_GENERATED: Final = """
SELECT a.attname::text, pg_catalog.to_jsonb(a) ->> 'attgenerated' FROM pg_catalog.pg_attribute a
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
  AND COALESCE(pg_catalog.to_jsonb(a) ->> 'attgenerated', '') <> ''
"""
_KINDS: Final = {"pubinsert": "insert", "pubupdate": "update", "pubdelete": "delete", "pubtruncate": "truncate"}


@dataclass(frozen=True)
class Publishing:
    """What guarantees that the log tells everything of one table.

    :param identity: changes whenever changes may have gone untold in between: another publication of the name, a
        table that was taken out and put in again, an emptied partition.
    """

    identity: str
    notes: tuple[str, ...] = ()


def ensure_published(
    connection: Connection, name: str, relation: Relation, selection: Selection, *, dry_run: bool = False
) -> Publishing:
    """Create the publication, or add the table to it, where need be; then see that it tells all changes.

    :param dry_run: say what would have to be run, and run nothing.

    :raises ConfigurationError: for a table without a key, a replica identity without it, a missing privilege (names
        the statement that somebody who may has to run), row filters, column lists.
    """
    what = f"{relation.from_item} in publication {name}"
    with translate(f"reading {what}"):
        _refuse_unfit(connection, relation)
        _refuse_keyless(connection, relation, selection)
    with _all_or_nothing(connection), translate(f"reading {what}"):
        missing = _statement(connection, name, relation)
        if missing and dry_run:
            return Publishing("", (f"would run {missing}",))
        notes = _publish(connection, missing, relation)
        publication, identity = query_rows(connection, _PUBLICATION, (name,))[0]
        _refuse_silent(publication, name)
        found = query_rows(connection, _MEMBER, (name, relation.oid))
        if not found:
            raise _not_told(relation, name)
        _refuse_filters(connection, found[0][0], relation, selection, name)
        leaves = query_rows(connection, _LEAVES, (relation.oid,)) if relation.kind == "p" else []
    files = ",".join(str(leaf[2]) for leaf in leaves)
    return Publishing(f"{identity}/{found[0][1] or ''}/{files}", notes)


# --- creating ---


@contextmanager
def _all_or_nothing(connection: Connection) -> Iterator[None]:
    """Take a change of the publication back where it turns out not to help."""
    connection.autocommit = False
    try:
        with connection:
            yield
    finally:
        connection.autocommit = True


def _publish(connection: Connection, statement: str, relation: Relation) -> tuple[str, ...]:
    if not statement:
        return ()
    try:
        with translate(f"publishing {relation.from_item}"), connection.cursor() as cursor:
            cursor.execute(statement)
    except ConfigurationError as error:
        if isinstance(error.__cause__, psycopg2.errors.InsufficientPrivilege):
            raise ConfigurationError(error.message, hint=_who_may(statement, error.hint)) from error
        raise
    return (f"ran {statement}",)


def _statement(connection: Connection, name: str, relation: Relation) -> str:
    """Return what has to be run; "" for nothing."""
    table = relation.from_item
    found = query_rows(connection, _PUBLICATION, (name,))
    if not found:
        options = ["publish_via_partition_root = true"] if connection.server_version >= PG_13 else []
        options += ["publish_generated_columns = stored"] if connection.server_version >= _PG_18 else []
        given = f" WITH ({', '.join(options)})" if options else ""
        return f"CREATE PUBLICATION {quoted(name)} FOR TABLE {table}{given}"
    if relation.kind == "p" and not found[0][0].get("pubviaroot"):
        raise ConfigurationError(
            f"Publication {name} tells the changes of {table} as those of its partitions.",
            hint=f"ALTER PUBLICATION {quoted(name)} SET (publish_via_partition_root = true)",
        )
    if query_rows(connection, _MEMBER, (name, relation.oid)):
        return ""
    return f"ALTER PUBLICATION {quoted(name)} ADD TABLE {table}"


def _who_may(statement: str, hint: str) -> str:
    return (
        f"let the table's owner (who needs CREATE on the database, or has to own the publication) run: {statement}; "
        f"or {hint}"
    )


def _not_told(relation: Relation, name: str) -> ConfigurationError:
    return ConfigurationError(
        f"Publication {name} does not tell the changes of {relation.from_item} as its own.",
        hint="name the partitioned table whose partition it is, or use another publication",
    )


# --- refusing ---


def _refuse_unfit(connection: Connection, relation: Relation) -> None:
    table = relation.from_item
    if relation.kind not in "rp":
        raise ConfigurationError(f"{table} is no table, and only tables have a log.", hint="use capture='fingerprint'")
    if relation.kind == "p" and connection.server_version < PG_13:
        raise ConfigurationError(
            f"{table} is partitioned, and this server (before PostgreSQL 13) does not tell its changes as its own.",
            hint="name its partitions one by one, or use capture='fingerprint'",
        )
    if relation.inherited:
        raise ConfigurationError(
            f"{table} has children, whose changes the log tells as their own.",
            hint="name the children one by one, or use capture='fingerprint'",
        )
    if relation.row_security:
        raise ConfigurationError(
            f"Row security hides rows of {table} from the connection's user; the log hides none.",
            hint="ALTER ROLE ... BYPASSRLS, or use capture='fingerprint' with deletes='ignore'",
        )


def _refuse_keyless(connection: Connection, relation: Relation, selection: Selection) -> None:
    table = relation.from_item
    key = selection.source_key
    if not key:
        raise ConfigurationError(
            f"{table} has no key by which its changes could be merged.",
            hint="give it a primary key, or name one that is unique with primary_key=[...] "
            "(REPLICA IDENTITY FULL alone is no key)",
        )
    for leaf, identity, _, columns in query_rows(connection, _LEAVES, (relation.oid,)):
        if identity != "f" and not set(key) <= set(columns):
            raise ConfigurationError(
                f"The replica identity of {leaf} ({', '.join(columns) or 'nothing'}) lacks the key "
                f"({', '.join(key)}): the log would not say which rows are changed or gone.",
                hint=f"ALTER TABLE {leaf} REPLICA IDENTITY "
                f"{'DEFAULT' if set(key) <= set(_primary(relation)) else 'FULL'}",
            )


def _primary(relation: Relation) -> tuple[str, ...]:
    return relation.keys[0] if relation.keys else ()


def _refuse_silent(publication: dict[str, Any], name: str) -> None:
    silent = [kind for flag, kind in _KINDS.items() if not publication.get(flag, True)]
    if silent:
        raise ConfigurationError(
            f"Publication {name} does not tell every {' and '.join(silent)}.",
            hint=f"ALTER PUBLICATION {quoted(name)} SET (publish = 'insert, update, delete, truncate')",
        )


def _refuse_filters(
    connection: Connection, member: dict[str, Any], relation: Relation, selection: Selection, name: str
) -> None:
    if member.get("rowfilter"):
        raise ConfigurationError(
            f"Publication {name} tells only some rows of {relation.from_item}: {member['rowfilter']}.",
            hint="publish the table without WHERE, or use another publication",
        )
    generated = dict(query_rows(connection, _GENERATED, (relation.oid,)))
    told = set(member.get("attnames") or [column.name for column in relation.columns if column.name not in generated])
    untold = [column for column in selection.names if column not in told]
    if untold:
        computed = untold[0] in generated
        raise ConfigurationError(
            f"Publication {name} does not tell column {untold[0]!r} of {relation.from_item}"
            f"{', which is computed' if computed else ''}.",
            hint=f"leave it out with exclude_columns=[{', '.join(map(repr, untold))}]"
            + (
                "; PostgreSQL 18 tells stored ones of a publication with publish_generated_columns = stored"
                if computed
                else ", or publish all columns"
            ),
        )
