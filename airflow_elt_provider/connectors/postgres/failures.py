"""What psycopg2's errors mean, and what to do about them."""

from __future__ import annotations

import re
from typing import Final

import psycopg2

from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError

_Kind = type[ConfigurationError] | type[TransientError]

_CONNECT: Final[tuple[tuple[str, _Kind, str], ...]] = (
    (r"authentication failed|no password supplied|パスワード認証に失敗",
     ConfigurationError, "check user and password of the connection"),
    (r"pg_hba\.conf.*(no encryption|SSL off)", ConfigurationError,
     ("the server lets nobody in from this worker's address like this: set sslmode=require in the connection's extra, "
      "if it wants TLS, else have the address, user and database allowed in its pg_hba.conf")),
    (r"pg_hba\.conf", ConfigurationError,
     ("the server does not let this user in from this worker's address: have address, user and database allowed in its "
      "pg_hba.conf, or connect from where they are")),
    (r"white ?-?list|allow ?-?list|ip address .*(not allowed|denied|forbidden)", ConfigurationError,
     "have this worker's outbound address added to the server's list of allowed addresses"),
    (r"server does not support SSL", ConfigurationError,
     ("the server speaks no TLS at this port: name the one that does, or, where the network keeps others out, set "
      "sslmode=prefer or sslmode=disable in the connection's extra")),
    (r"(rejects|only accepts|must use) .*(SSL|TLS|secure|encrypt)|\b(SSL|TLS|encryption|connection) is required",
     ConfigurationError,
     "the server wants TLS: set sslmode=require, or better verify-full with sslrootcert, in the connection's extra"),
    (r"role .* does not exist|ロール.*存在しません", ConfigurationError, "check the connection's user"),
    (r"database .* does not exist|データベース.*存在しません",
     ConfigurationError, "check the connection's database (schema field)"),
    (r"permission denied for database", ConfigurationError, "GRANT CONNECT ON DATABASE ... TO this user"),
    (r"too many (clients|connections)|connection slots", TransientError, "wait, or raise the server's max_connections"),
    (r"starting up|shutting down|in recovery mode|not yet accepting", TransientError, "wait until the server is up"),
    (r"Temporary failure in name resolution", TransientError, "check the worker's name resolution"),
    (r"could not translate host name|Name or service", ConfigurationError, "check the connection's host"),
    (r"certificate|SSL|root\.crt|private key", ConfigurationError,
     "check sslmode and sslrootcert (and sslcert, sslkey) in the connection's extra"),
    (r"invalid (connection option|port|\w+ value)|fe_sendauth|requires .* authentication", ConfigurationError,
     "check the connection's fields and extra"),
    (r"closed the connection unexpectedly|Connection reset|ended the connection", TransientError,
     ("it may be restarting; if that goes on, something before it turns this worker away: an allow-list of addresses, "
      "or a proxy that wants TLS (sslmode=require in the connection's extra)")),
    (r"Connection refused|timeout expired|timed out|No route to host|unreachable|No such file", TransientError,
     "check host and port, that the server runs, and that firewalls let this worker through"),
)  # fmt: skip
"""Pattern in the message, error, remedy: an error of connecting carries no SQLSTATE in psycopg2."""

_STATES: Final[tuple[tuple[str, type[EltError], str], ...]] = (
    ("55P03", TransientError, "somebody else holds a lock on it; wait, or raise the connection's lock_timeout"),
    ("40", TransientError, "another transaction was in the way; try again"),
    ("57014", TransientError, "the statement was cancelled, or took longer than statement_timeout"),
    ("57P", TransientError, "the server is being stopped or restarted; try again"),
    ("08", TransientError, "the connection to the server was lost; try again"),
    ("53100", ConfigurationError, "the server's disk is full: make room there"),
    ("53300", TransientError, "the server has no connection left: wait, or raise max_connections"),
    ("53", TransientError, "the server is short of resources; try again later"),
    ("25006", ConfigurationError, "the server is read-only (a standby?): point the connection at the primary"),
    ("25P0", TransientError, "the server ended the idle transaction; raise the server's timeouts"),
    ("28", ConfigurationError, "check user and password of the connection"),
    ("3D", ConfigurationError, "check the connection's database"),
    ("42P01", ConfigurationError, "check schema and table name; capitals count"),
    ("42703", ConfigurationError, "check the column's name; capitals count"),
    ("3F", ConfigurationError, "check the schema's name; capitals count"),
    ("42", ConfigurationError, "check the SQL that was given (query, where), and the names in it"),
    ("0A", ConfigurationError, "the server does not support this"),
    ("22", DataError, "correct the value at the source, or the expression that computes it"),
    ("23", DataError, "the rows break a constraint: correct them, or drop the constraint"),
    ("55000", ConfigurationError, "it is not ready for that: do what the server says"),
    ("HV", ConfigurationError, "check what the foreign table leads to: its server, its options and the user mapping"),
    ("54", DataError, "the value or the statement is larger than the server allows"),
)  # fmt: skip
"""Beginning of the SQLSTATE, error, remedy; the first that fits counts."""

_POLICY: Final = "row-level security policy"
_UNHIDE: Final = "let the role see all rows (ALTER ROLE ... BYPASSRLS), or make it the table's owner"
_DENIED: Final = re.compile(r"permission denied for (\w+(?: \w+)*?) (\S+)$")


def connect_failure(error: psycopg2.Error, settings: PostgresSettings) -> EltError:
    """Say why a connection could not be opened."""
    text = _without_secret(" ".join(str(error).split()).rstrip("."), settings)
    for pattern, kind, hint in _CONNECT:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(f"Cannot connect to PostgreSQL at {settings}: {text}.", hint=hint)
    return TransientError(f"Cannot connect to PostgreSQL at {settings}: {text}.", hint="check the connection's fields")


def _without_secret(text: str, settings: PostgresSettings) -> str:
    secret = settings.password.reveal() if settings.password else ""
    return text.replace(secret, "***") if len(secret) > 3 else text  # noqa: PLR2004 - shorter ones would blank out words


def statement_failure(error: psycopg2.Error, what: str, privilege: str) -> EltError | None:
    """Say what an error of a statement means; None where it is not the server's or the connection's doing."""
    state = error.pgcode
    if state is None:
        return _lost(error, what)
    text = f"{_sentence(what)}: {_message(error)} (SQLSTATE {state})."
    if error.diag.source_function == "check_enable_rls":
        return _hidden(error, text) if privilege == "SELECT" else ConfigurationError(text, hint=_UNHIDE)
    if state == "42501" and _POLICY in text:
        return ConfigurationError(text, hint=_UNHIDE)
    if state == "42501":
        return ConfigurationError(text, hint=_grant(error, privilege))
    for prefix, kind, hint in _STATES:
        if state.startswith(prefix):
            return kind(text, hint=error.diag.message_hint or hint if state in {"42703", "42P01", "42883"} else hint)
    return None


def _hidden(error: psycopg2.Error, text: str) -> EltError:
    role = error.cursor.connection.info.user if error.cursor is not None else ""
    return ConfigurationError(
        f"{text} Row security hides rows from role {role!r}: rows that it may not see would count as deleted.",
        hint="let the role see all rows (ALTER ROLE ... BYPASSRLS, or make it the table's owner), or use "
        "deletes='ignore'; if only a part of the table is wanted, name that with where=",
    )


def _lost(error: psycopg2.Error, what: str) -> EltError | None:
    text = " ".join(str(error).split())
    gone = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    # A connection that breaks in the middle of COPY is a bare DatabaseError.
    if not gone and type(error) is not psycopg2.DatabaseError:
        return None
    return TransientError(f"{_sentence(what)}: the connection was lost ({text}).", hint="try again")


def _message(error: psycopg2.Error) -> str:
    diag = error.diag
    parts = [diag.message_primary or " ".join(str(error).split()), diag.message_detail, diag.context]
    return "; ".join(" ".join(part.split())[:500] for part in parts if part)


def _sentence(what: str) -> str:
    return what[:1].upper() + what[1:]


def _grant(error: psycopg2.Error, privilege: str) -> str:
    said = error.diag.message_primary or ""
    if said.startswith("must be owner"):
        return "make the connection's user a member of the role that owns it, or make the change by hand"
    found = _DENIED.search(said)
    if not found:
        return f"grant the connection's user {privilege} on the table and USAGE on its schema"
    kind, name = found.groups()
    match kind:
        case "schema":
            return f"GRANT USAGE ON SCHEMA {name} TO the connection's user" + (
                "" if privilege == "SELECT" else f" (and GRANT CREATE ON SCHEMA {name}, where tables are to be made)"
            )
        case "database":
            return f"GRANT CREATE ON DATABASE {name} TO the connection's user"
        case "function" | "type" | "language":
            what = "EXECUTE" if kind == "function" else "USAGE"
            return f"GRANT {what} ON {kind.upper()} {name} TO the connection's user"
        case _:
            return f"GRANT {privilege} ON {name} TO the connection's user"
