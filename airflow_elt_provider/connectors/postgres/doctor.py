"""What can be read from a server, by which captures, and what is missing where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import snapshot, wal_slot
from airflow_elt_provider.connectors.postgres.catalog import KINDS, Relation, query_rows, read_table
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.selection import select_columns
from airflow_elt_provider.connectors.postgres.session import PG_11, translate
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.wal_publication import ensure_published
from airflow_elt_provider.core.capture import Wal
from airflow_elt_provider.core.doctor import Finding, Inquiry, cursor_unknown, note, ok, problem, refused, unknowable
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, EltError

NEWEST_KNOWN: Final = 18
_ABOUT: Final = (
    "SELECT pg_catalog.current_setting('server_version'), current_user::text, pg_catalog.pg_is_in_recovery()"
)
_RIGHTS: Final = """
SELECT n.nspname, pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
    pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.pg_has_role(c.relowner, 'MEMBER'),
    pg_catalog.pg_get_userbyid(c.relowner)::text, c.relrowsecurity,
    array(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
          AND NOT a.attisdropped AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY a.attnum)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s
"""
_FOUND: Final = """
SELECT c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %s AND CASE WHEN %s = '' THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = %s END
"""
_ALL: Final = """
SELECT n.nspname || '.' || c.relname, pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema$|_elt$)'
ORDER BY 1
"""
_MAY_PUBLISH: Final = """
SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
    pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c WHERE c.oid = %s
"""
_SLOTS: Final = """
SELECT pg_catalog.current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_catalog.pg_replication_slots)
"""
_SHOWN: Final = 5
_OF_TABLES: Final = frozenset({"cursor", "xmin", "fingerprint"})
"""Captures of which nothing can be said without a table."""


def connected(connection: Connection, settings: PostgresSettings) -> Iterator[Finding]:
    """Say who answered, as whom, and whether anybody can listen."""
    with translate("asking the server who it is"):
        version, user, _ = query_rows(connection, _ABOUT)[0]
    yield ok("connect", f"PostgreSQL {version} at {settings}, as role {user}")
    if connection.server_version < PG_11:
        yield problem("version", f"PostgreSQL {version} is older than 11.", "upgrade the server to 11 or newer")
    elif connection.server_version // 10_000 > NEWEST_KNOWN:
        yield note("version", f"PostgreSQL {version} is newer than any that this package was tested with.")
    yield _tls(connection, settings)


def _tls(connection: Connection, settings: PostgresSettings) -> Finding:
    info = connection.info
    if info.ssl_in_use:
        mode = settings.options.get("sslmode", "prefer")
        checks = (
            "host and certificate are checked" if mode == "verify-full" else f"sslmode={mode} does not check the host"
        )
        return ok("TLS", f"{info.ssl_attribute('protocol')}, {info.ssl_attribute('cipher')}; {checks}")
    local = not settings.host or settings.host.startswith("/") or settings.host in {"localhost", "127.0.0.1", "::1"}
    if local:
        return ok("TLS", "none, and the server is on this machine")
    remedy = 'put {"sslmode": "verify-full", "sslrootcert": "..."} into the connection\'s extra'
    return note("TLS", "none: passwords and rows travel in the clear", remedy)


# --- as a source ---


def readable(connection: Connection, settings: PostgresSettings, inquiry: Inquiry) -> Iterator[Finding]:
    """Check connection, tables and captures. The connection is used in autocommit, and nothing is locked."""
    connection.autocommit = True
    yield from connected(connection, settings)
    for table in inquiry.tables:
        try:
            with translate(f"looking at {table}"):
                yield from _table(connection, table, inquiry)
        except EltError as error:
            yield refused(f"{table}: read", error)
    if not inquiry.tables:
        yield from unknowable(inquiry.captures & _OF_TABLES)
        with translate("listing the tables"):
            yield _listed(connection)
    if not inquiry.tables or "wal" in inquiry.captures:
        yield _capture("wal", lambda: _log(connection), inquiry)


def _listed(connection: Connection) -> Finding:
    found = query_rows(connection, _ALL)
    denied = [name for name, readable in found if not readable]
    user = quoted(connection.info.user)
    if not denied:
        return ok("tables", f"may read all {len(found)} tables of the database")
    told = ", ".join(denied[:_SHOWN]) + (", ..." if len(denied) > _SHOWN else "")
    remedy = f"GRANT USAGE ON SCHEMA ... TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA ... TO {user}"
    return note("tables", f"may read {len(found) - len(denied)} of {len(found)} tables; not {told}", remedy)


def _table(connection: Connection, table: TableRef, inquiry: Inquiry) -> Iterator[Finding]:
    snapshot.local_name(connection, table)  # refuses another database's
    schema, name = ("", table.name) if len(table.parts) == 1 else table.parts[-2:]
    found = query_rows(connection, _FOUND, (name, schema, schema))
    if not found:
        yield refused(f"{table}: exists", snapshot.no_such_table(connection, table))
        return
    oid = found[0][0]
    denied = _denied(connection, table, oid)
    if denied:
        yield denied
        return
    # Only now: who may not use the schema is told that there is no such table.
    relation = read_table(connection, snapshot.local_name(connection, table), "")
    if relation is None:
        yield refused(f"{table}: exists", snapshot.no_such_table(connection, table))
        return
    # Neither a view that asks in our name nor a foreign table's server is known from the catalog.
    with translate(f"reading {table}"):
        query_rows(connection, f"SELECT * FROM {relation.from_item} LIMIT 0")
    yield ok(f"{table}: read", f"{KINDS.get(relation.kind, 'relation')} of {len(relation.columns)} columns")
    yield _key(table, relation)
    if relation.row_security:
        yield note(
            f"{table}: row security", "policies hide rows from this role: they are not read, and deletes='soft' or "
            "'hard' and mode='replace' are refused", f"ALTER ROLE {quoted(connection.info.user)} BYPASSRLS",
        )  # fmt: skip
    yield from _captures(connection, table, relation, inquiry)


def _denied(connection: Connection, table: TableRef, oid: int) -> Finding | None:
    schema, usage, select, _, _, _, columns = query_rows(connection, _RIGHTS, (oid,))[0]
    user, name = quoted(connection.info.user), quoted(schema, table.name)
    grants = [] if usage else [f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {user}"]
    if not select and columns:
        grants.append(f"GRANT SELECT ON {name} TO {user}")
    if not grants:
        return None
    what = "schema" if not usage else "table" if len(columns) > 1 else f"column {columns[0]}"
    return problem(f"{table}: read", f"role {connection.info.user!r} may not read the {what}", "; ".join(grants))


def _key(table: TableRef, relation: Relation) -> Finding:
    if relation.keys:
        return ok(f"{table}: key", ", ".join(relation.keys[0]))
    return note(
        f"{table}: key", "none: mode='merge' and 'history' need one, and so do fingerprint and wal",
        "ALTER TABLE ... ADD PRIMARY KEY, or name unique columns with primary_key=[...]",
    )  # fmt: skip


# --- captures ---


def _captures(connection: Connection, table: TableRef, relation: Relation, inquiry: Inquiry) -> Iterator[Finding]:
    def xmin() -> str:
        if not relation.has_xmin:
            kind = KINDS.get(relation.kind, "relation")
            raise ConfigurationError(f"A {kind} has no row versions.", hint="use cursor or fingerprint")
        return "possible; finds no deletes"

    def fingerprint() -> str:
        if not relation.keys:
            raise ConfigurationError("It needs a key.", hint="name its columns with primary_key=[...]")
        if relation.row_security:
            return "possible with deletes='ignore': of the rows that are hidden nobody knows whether they are deleted"
        return "possible; finds deletes"

    def wal() -> str:
        return f"{_log(connection)}; {_published(connection, table, relation, inquiry.publication)}"

    yield ok(f"{table}: capture full", "possible")
    if "cursor" in inquiry.captures:
        yield cursor_unknown(table)
    yield _capture("xmin", xmin, inquiry, table)
    yield _capture("fingerprint", fingerprint, inquiry, table)
    yield _capture("wal", wal, inquiry, table)


def _capture(name: str, work: Callable[[], str], inquiry: Inquiry, table: TableRef | None = None) -> Finding:
    check = f"{table}: capture {name}" if table else f"capture {name}"
    try:
        return ok(check, work())
    except ConfigurationError as error:
        told = problem if name in inquiry.captures else note
        return told(check, f"not possible: {error.message}", error.hint)


def _log(connection: Connection) -> str:
    wal_slot.refuse_server(connection)
    with translate("counting replication slots"):
        free = query_rows(connection, _SLOTS)[0][0]
    if free <= 0:
        raise ConfigurationError(
            "Every replication slot of the server is taken.", hint="raise max_replication_slots, or drop a slot"
        )
    return f"wal_level, role and {free} free slots would do"


def _published(connection: Connection, table: TableRef, relation: Relation, publication: str) -> str:
    name = publication or "elt"
    extraction = Extraction(stream="doctor", table=table, capture=Wal())
    selection = select_columns(relation, extraction)
    try:
        publishing = ensure_published(connection, name, relation, selection, dry_run=True)
    finally:
        connection.autocommit = True
    if not publishing.notes:
        return f"published by {name}"
    may_create, owner = query_rows(connection, _MAY_PUBLISH, (relation.oid,))[0]
    if not (may_create and owner):
        raise ConfigurationError(
            f"Role {connection.info.user!r} may not publish {table}: it takes the table's owner, and CREATE on the "
            "database.",
            hint=f"let the owner run CREATE PUBLICATION {quoted(name)} FOR TABLE {relation.from_item}, and name it: "
            f"Wal(publication='{name}')",
        )
    if not publication:
        return "the first extract publishes it"
    statement = publishing.notes[0].removeprefix("would run ")
    missing = f"there is no publication {name}; " if statement.startswith("CREATE") else f"{name} lacks the table; "
    return f"{missing}the first extract runs {statement}"
