"""What the target's server knows of a target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.connectors.postgres.destination_session import PostgresSession
from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.evolve import TargetTable
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

NAME_BYTES: Final = 63
_AT: Final = PostgresDialect.placeholder
_INSERTABLE: Final = {"r", "p", "v", "f"}
_LOCKABLE: Final = {"r", "p", "v"}

_RELATION: Final = Sql(f"""
SELECT c.oid::int8, c.relkind::text, pg_catalog.row_security_active(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {_AT} AND c.relname = {_AT}""")
_COLUMNS: Final = Sql(f"""
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
WHERE a.attrelid = {_AT} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum""")
_KEY: Final = Sql(f"""
SELECT a.attname FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
JOIN pg_catalog.pg_attribute a ON a.attnum = k.attnum
WHERE i.indrelid = {_AT} AND a.attrelid = i.indrelid AND i.indisprimary AND k.position <= i.indnkeyatts
ORDER BY k.position""")
_PLACE: Final = Sql(f"""
SELECT pg_catalog.current_database(), coalesce((
    SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = pg_catalog.to_regclass({_AT})), pg_catalog.current_schema())""")
_SCHEMA: Final = Sql(f"SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = {_AT}")
_STATE: Final = Sql(f"""
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {_AT} AND c.relname IN ('checkpoints', 'receipts', 'staging', 'sync_log')""")
_STATE_TABLES: Final = frozenset({"checkpoints", "receipts", "staging"})
_LISTENED: Final = Sql(f"""
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = {_AT})
    OR EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = {_AT} AND NOT tgisinternal)
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class = {_AT})""")


@dataclass(frozen=True)
class Place:
    """A target, found.

    :param ref: schema and table.
    :param kind: ``relkind``, "" while there is none.
    :param hidden: whether policies hide rows from this role.
    """

    ref: TableRef
    oid: int = 0
    kind: str = ""
    hidden: bool = False

    @property
    def lockable(self) -> bool:
        """Whether LOCK TABLE takes it."""
        return self.kind in _LOCKABLE


def find(session: PostgresSession, target: TableRef) -> Place:
    """Find a target: a bare name through ``search_path``, else to the letter.

    :raises ConfigurationError: for a name that no table can have here, and for what nobody can insert into.
    """
    refuse_long(target.parts, f"target_table={str(target)!r}")
    schema = _schema(session, target)
    found = session.query(_RELATION, (schema, target.name))
    place = Place(TableRef((schema, target.name)), *found[0]) if found else Place(TableRef((schema, target.name)))
    if place.kind and place.kind not in _INSERTABLE:
        raise ConfigurationError(
            f"{target} is neither a table nor a view (relkind {place.kind!r}).", hint="choose another target_table"
        )
    return place


def _schema(session: PostgresSession, target: TableRef) -> str:
    database, current = session.query(_PLACE, (quoted(target.name),))[0]
    match target.parts:
        case (_,) if current:
            return str(current)
        case (schema, _):
            return schema
        case (catalog, schema, _) if catalog == database:
            return schema
    raise ConfigurationError(
        f"{target} is no table of PostgreSQL database {database!r}.", hint="write table or schema.table"
    )


def describe(session: PostgresSession, place: Place) -> TargetTable | None:
    """Return the target's columns and key; None while there is none.

    :raises ConfigurationError: for a target of which the role sees only a part: what it does not see, it would insert
        again.
    """
    if not place.oid:
        return None
    if place.hidden:
        raise refusing_hidden(place.ref, session.connection.info.user)
    columns = {name: type_ for name, type_ in session.query(_COLUMNS, (place.oid,))}  # noqa: C416 - narrows the types
    return TargetTable(columns, tuple(name for (name,) in session.query(_KEY, (place.oid,))))


def refusing_hidden(target: TableRef, user: str) -> ConfigurationError:
    """Return why a target with row security cannot be merged into."""
    return ConfigurationError(
        f"Row security of {target} applies to role {user!r}: rows that it may not see would be inserted again.",
        hint=f"ALTER ROLE {quoted(user)} BYPASSRLS, or let it own the table, without FORCE ROW LEVEL SECURITY",
    )


def exchangeable(session: PostgresSession, place: Place) -> bool:
    """Whether nothing notices when a row is deleted and inserted again: no foreign key to it, trigger or rule."""
    return place.kind == "r" and not session.query(_LISTENED, (place.oid,) * 3)[0][0]


def has_schema(session: PostgresSession, name: str) -> bool:
    """Whether there is such a schema."""
    return bool(session.query(_SCHEMA, (name,))[0][0])


def has_state(session: PostgresSession) -> bool:
    """Whether our own tables are there."""
    return _state(session) >= _STATE_TABLES


def has_whole_state(session: PostgresSession) -> bool:
    """Whether our own tables are there, and the sync log."""
    return _state(session) >= {*_STATE_TABLES, "sync_log"}


def _state(session: PostgresSession) -> set[str]:
    return {name for (name,) in session.query(_STATE, (PostgresDialect.state_schema,))}


def refuse_long_columns(load: Load) -> None:
    """Refuse column names that the server would cut off in silence."""
    refuse_long(load.manifest.schema.names, load.manifest.source)


def refuse_long(names: Iterable[str], where: str) -> None:
    """Refuse names that the server would cut off in silence."""
    for name in names:
        size = len(name.encode())
        if size > NAME_BYTES:
            raise ConfigurationError(
                f"{where}: the name {name!r} has {size} bytes, PostgreSQL keeps {NAME_BYTES}.",
                hint="choose a shorter name (rename={...} for a column)",
            )
