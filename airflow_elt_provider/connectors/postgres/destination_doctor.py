"""Whether a role may make and write targets and our own tables; asked of the catalog, nothing is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from airflow_elt_provider.connectors.postgres import destination_catalog as catalog
from airflow_elt_provider.connectors.postgres.destination_session import PostgresSession
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, Inquiry, note, ok, problem, refused
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

_AT: Final = PostgresDialect.placeholder
_STANDBY: Final = Sql(
    "SELECT pg_catalog.pg_is_in_recovery() OR pg_catalog.current_setting('transaction_read_only') = 'on'"
)
_DATABASE: Final = Sql(
    "SELECT current_database()::text, current_user::text, "
    "pg_catalog.has_database_privilege(current_database(), 'CREATE')"
)
_SCHEMA: Final = Sql(f"""
SELECT pg_catalog.has_schema_privilege(oid, 'USAGE'), pg_catalog.has_schema_privilege(oid, 'CREATE')
FROM pg_catalog.pg_namespace WHERE nspname = {_AT}""")
_TABLE: Final = Sql(f"""
SELECT array(SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege
    WHERE NOT pg_catalog.has_table_privilege(c.oid, privilege)), pg_catalog.pg_has_role(c.relowner, 'USAGE'),
    pg_catalog.pg_get_userbyid(c.relowner)::text, pg_catalog.row_security_active(c.oid)
FROM pg_catalog.pg_class c WHERE c.oid = {_AT}""")
_OWN: Final = Sql(f"""
SELECT c.relname::text, c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {_AT} AND c.relname IN ('checkpoints', 'receipts', 'staging', 'sync_log') ORDER BY 1""")


def writable(session: PostgresSession, inquiry: Inquiry) -> Iterator[Finding]:
    """Check what a merge needs."""
    if session.query(_STANDBY)[0][0]:
        yield problem("write", "the server takes no writes: it is a standby, or read-only",
                      "point the connection at the primary")  # fmt: skip
        return
    database, user, may_create = session.query(_DATABASE)[0]
    role = _Role(user, database, may_create)
    yield _schema(session, role, PostgresDialect.state_schema)
    for name, oid in session.query(_OWN, (PostgresDialect.state_schema,)):
        yield _table(session, role, TableRef((PostgresDialect.state_schema, name)), oid)
    for target in inquiry.tables:
        try:
            place = catalog.find(session, target)
        except ConfigurationError as error:
            yield refused(f"{target}: write", error)
            continue
        yield _schema(session, role, place.ref.parts[0])
        if place.oid:
            yield _table(session, role, place.ref, place.oid)
        else:
            yield ok(f"{place.ref}: exists", "not yet; the first load creates it")


class _Role:
    """Who writes, and where.

    :param may_create: whether it may create schemas.
    """

    def __init__(self, name: str, database: str, may_create: bool) -> None:  # noqa: FBT001 - three facts in a row
        self.name, self.database, self.may_create = name, database, may_create


def _schema(session: PostgresSession, role: _Role, schema: str) -> Finding:
    check = f"schema {schema}: create tables"
    found = session.query(_SCHEMA, (schema,))
    if not found:
        if role.may_create:
            return ok(check, f"it does not exist yet, and role {role.name!r} may create it")
        remedy = (
            f"GRANT CREATE ON DATABASE {quoted(role.database)} TO {quoted(role.name)}; or let somebody who may run "
            f"CREATE SCHEMA {quoted(schema)} AUTHORIZATION {quoted(role.name)}"
        )
        return problem(check, f"it does not exist, and role {role.name!r} may not create it", remedy)
    missing = [name for name, may in zip(("USAGE", "CREATE"), found[0], strict=True) if not may]
    if not missing:
        return ok(check, f"role {role.name!r} may")
    remedy = f"GRANT {', '.join(missing)} ON SCHEMA {quoted(schema)} TO {quoted(role.name)}"
    return problem(check, f"role {role.name!r} lacks {' and '.join(missing)}", remedy)


def _table(session: PostgresSession, role: _Role, table: TableRef, oid: int) -> Finding:
    check = f"{table}: write"
    missing, owns, owner, hidden = session.query(_TABLE, (oid,))[0]
    if missing:
        remedy = f"GRANT {', '.join(missing)} ON {quoted(*table.parts)} TO {quoted(role.name)}"
        return problem(check, f"role {role.name!r} lacks {', '.join(missing)}", remedy)
    if hidden:
        return refused(check, catalog.refusing_hidden(table, role.name))
    if not owns:
        remedy = f"GRANT {quoted(owner)} TO {quoted(role.name)}"
        return note(check, f"it belongs to {owner!r}: no column can be added or widened", remedy)
    return ok(check, f"role {role.name!r} may, and owns it")
