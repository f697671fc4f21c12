"""Replication slots: what keeps the log for us, and up to where it has been read."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import psycopg2.errors
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import query_rows
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.session import translate
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.wal_messages import lsn_number, lsn_text
from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError

PLUGIN: Final = "pgoutput"
_WAIT_SECONDS: Final = 0.2
_SERVER: Final = """
SELECT pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery(), current_user,
    r.rolreplication OR r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles g
        WHERE g.rolname IN ('rds_replication', 'rds_superuser') AND pg_catalog.pg_has_role(g.oid, 'MEMBER'))
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""
_SLOT: Final = """
SELECT pg_catalog.to_jsonb(s), pg_catalog.current_database(),
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), s.restart_lsn)::int8
FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %s
"""
_HEARTBEAT: Final = "SELECT pg_catalog.pg_logical_emit_message(false, 'elt', '')"
_FLUSHED: Final = "SELECT pg_catalog.pg_current_wal_flush_lsn()::text"
_WRITING: Final = """
SELECT 'process ' || pid, 'SELECT pg_terminate_backend(' || pid || ')', usename::text, datname::text, state,
    EXTRACT(epoch FROM pg_catalog.clock_timestamp() - xact_start)::int8, query_start::text, pg_catalog.age(backend_xid)
FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
UNION ALL
SELECT 'prepared transaction ' || pg_catalog.quote_literal(gid), 'ROLLBACK PREPARED ' || pg_catalog.quote_literal(gid),
    owner::text, database::text, 'prepared', EXTRACT(epoch FROM pg_catalog.clock_timestamp() - prepared)::int8, NULL,
    pg_catalog.age(transaction)
FROM pg_catalog.pg_prepared_xacts
ORDER BY 8 DESC LIMIT 1
"""


@dataclass(frozen=True)
class Slot:
    """A slot as the server shows it.

    :param confirmed: transactions whose commit record begins before this are not handed out any more.
    :param lost: why it hands out nothing any more; "" for a slot that works.
    :param retained: bytes of the log that the server keeps for it.
    :param safe: bytes that may still be written before the server throws its log away; None without such a limit.
    """

    name: str
    confirmed: int
    active: int | None
    lost: str
    status: str
    retained: int
    safe: int | None

    def warning(self, most: int) -> str:
        """Return what to warn of; "" for nothing.

        :param most: bytes that may be retained.
        """
        told = f"slot {self.name} keeps {self.retained:,} bytes of the log on the server's disk"
        if self.status in {"extended", "unreserved"}:
            return f"{told} ({self.status}): {self.safe or 0:,} bytes more and the server drops it; sync more often"
        if self.retained > most:
            return f"{told}, more than max_slot_lag={most:,}: sync more often, or set max_slot_wal_keep_size"
        return ""


def refuse_server(connection: Connection) -> None:
    """Refuse a server or a role with which no log can be read.

    :raises ConfigurationError: names the setting or the grant that is missing.
    """
    with translate("reading the log's settings"):
        level, standby, user, may = query_rows(connection, _SERVER)[0]
    if standby:
        raise ConfigurationError("The server is a standby.", hint="point the connection at the primary")
    if level != "logical":
        raise ConfigurationError(
            f"The server has wal_level={level}: its log does not tell changes of rows.",
            hint="ALTER SYSTEM SET wal_level = logical, and restart it (RDS: rds.logical_replication = 1)",
        )
    if not may:
        raise ConfigurationError(
            f"Role {user!r} may not read the log.",
            hint=f"ALTER ROLE {quoted(user)} REPLICATION (RDS: GRANT rds_replication TO {quoted(user)})",
        )


def find_slot(connection: Connection, name: str) -> Slot | None:
    """Return the slot, or None.

    :raises ConfigurationError: for one of another database or plugin.
    """
    with translate(f"looking at slot {name}"):
        found = query_rows(connection, _SLOT, (name,))
    if not found:
        return None
    row, database, retained = found[0]
    if row["plugin"] != PLUGIN or row["database"] != database:
        raise ConfigurationError(
            f"Slot {name!r} belongs to plugin {row['plugin']!r} and database {row['database']!r}.",
            hint="choose another name: Wal(slot='...')",
        )
    return Slot(
        name, lsn_number(row["confirmed_flush_lsn"]) if row["confirmed_flush_lsn"] else 0, row["active_pid"],
        _lost(row), row.get("wal_status") or "", int(retained or 0), row.get("safe_wal_size"),
    )  # fmt: skip


def _lost(row: dict[str, Any]) -> str:
    if row.get("invalidation_reason"):
        return str(row["invalidation_reason"])
    if row.get("wal_status") == "lost":
        return "the server dropped its log"
    return "" if row["confirmed_flush_lsn"] else "it was never ready"


def wait_until_free(connection: Connection, name: str, seconds: float) -> Slot | None:
    """Return the slot once nobody reads it: a task that was killed goes on reading until its server notices.

    :raises TransientError: when somebody still does after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        slot = find_slot(connection, name)
        if slot is None or slot.active is None:
            return slot
        if time.monotonic() > deadline:
            raise TransientError(
                f"Slot {name!r} is being read by process {slot.active} of the server.",
                hint="give each stream a slot of its own; or wait, or end that process: pg_terminate_backend",
            )
        time.sleep(_WAIT_SECONDS)


def create_slot(connection: Connection, name: str, control: Connection, *, temporary: bool) -> tuple[int, str]:
    """Create a slot and return where it begins, and the name of the snapshot that shows just what came before.

    PostgreSQL waits for every transaction of the server that has written something and is not over yet.

    :param connection: of the replication protocol, see :func:`replicating`; it has to stay, without another statement,
        until whoever wants the snapshot has joined it.
    :param control: to ask whom it waits for.
    :raises TransientError: when a transaction that writes does not end; names it.
    """
    statement = (
        f"CREATE_REPLICATION_SLOT {quoted(name)}{' TEMPORARY' if temporary else ''} LOGICAL {PLUGIN} EXPORT_SNAPSHOT"
    )
    try:
        with translate(f"creating slot {name}"), connection.cursor() as cursor:
            cursor.execute(statement)
            _, lsn, snapshot, _ = cursor.fetchone() or ()
    except EltError as error:
        cause = error.__cause__
        if isinstance(cause, psycopg2.errors.DuplicateObject):
            raise TransientError(f"Slot {name!r} was just created by somebody else.", hint="try again") from error
        if isinstance(cause, psycopg2.errors.LockNotAvailable):
            raise _waited_in_vain(name, control) from error
        if isinstance(cause, psycopg2.errors.ConfigurationLimitExceeded):
            raise ConfigurationError(error.message, hint="raise max_replication_slots, or drop a slot") from error
        raise
    return lsn_number(lsn), snapshot


def _waited_in_vain(name: str, control: Connection) -> TransientError:
    """Name the oldest transaction that writes: its process, its age, when its last statement began; not its text."""
    with translate("asking which transaction is open"):
        found = query_rows(control, _WRITING)
    what = f"Slot {name!r} can only begin once every transaction that was writing before is over"
    if not found:
        return TransientError(f"{what}, and lock_timeout went by.", hint="try again, or raise lock_timeout")
    who, how, user, database, state, age, statement, _ = found[0]
    told = [f"user {user}", f"database {database}", *([str(state)] if state else [])]
    told += [f"open for {age:,} s"] if age is not None else []  # a role may see no more than that there is one
    told += [f"its last statement began at {statement}"] if statement else []
    return TransientError(
        f"{what}: {who} goes on ({', '.join(told)}).",
        hint=f"wait until it is over, or end it: {how}; then try again, or raise lock_timeout",
    )


def replicating(settings: PostgresSettings) -> PostgresSettings:
    """Return the settings of a session that speaks the replication protocol."""
    return replace(settings, options={**settings.options, "replication": "database"})


def drop_slot(connection: Connection, name: str) -> None:
    """Drop a slot that hands out nothing any more."""
    _run(connection, f"dropping slot {name}", "SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,))


def advance(connection: Connection, slot: Slot, lsn: int) -> None:
    """Let the server forget what is merged: everything before ``lsn``. Never goes back."""
    if lsn > slot.confirmed:
        sql = "SELECT pg_catalog.pg_replication_slot_advance(%s, %s::pg_lsn)"
        _run(connection, f"advancing slot {slot.name}", sql, (slot.name, lsn_text(lsn)))


def heartbeat(connection: Connection) -> str:
    """Write a small message into the log, so that an idle database's slot has something to move on; return a note."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_HEARTBEAT)
    except psycopg2.errors.InsufficientPrivilege:
        return "no heartbeat: GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) TO this user"
    return ""


def flushed(connection: Connection) -> int:
    """Return the end of the log that is safe on disk."""
    with translate("asking for the end of the log"):
        return lsn_number(query_rows(connection, _FLUSHED)[0][0])


def clock(connection: Connection) -> datetime:
    """Return the server's time."""
    now: datetime = query_rows(connection, "SELECT pg_catalog.clock_timestamp()")[0][0]
    return now


def _run(connection: Connection, what: str, sql: str, parameters: tuple[object, ...]) -> None:
    try:
        with translate(what), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    except psycopg2.errors.ObjectInUse as error:
        raise TransientError(f"{what[:1].upper()}{what[1:]}: {error}".strip(), hint="try again") from error
