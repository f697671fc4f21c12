"""What PyMySQL's errors mean, and what to do about them."""

from __future__ import annotations

import re
import ssl
from typing import Final

import pymysql

from airflow_elt_provider.connectors.mysql.settings import MySqlSettings
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError

NO_TABLE: Final = frozenset({1146, 1049})
"""Error numbers: no such table, no such database."""
TABLE_CHANGED: Final = 1412
"""Error number: the table was altered since the snapshot was taken."""

_CHECK_CERTIFICATE: Final = "check ssl_mode and ssl_ca (and ssl_cert, ssl_key) in the connection's extra"
_WORDS: Final[tuple[tuple[str, type[EltError], str], ...]] = (
    (r"Temporary failure in name resolution", TransientError, "check the worker's name resolution"),
    (r"Name or service|nodename|getaddrinfo|No address", ConfigurationError, "check the connection's host"),
    (r"certificate|SSL|TLS|\[X509", ConfigurationError, _CHECK_CERTIFICATE),
    (r"cryptography", ConfigurationError, "the server's login method needs TLS here: set ssl_mode (and ssl_ca)"),
    (r"Authentication plugin .* not configured|auth_plugin", ConfigurationError,
     "give the user a password login: caching_sha2_password, mysql_native_password or client_ed25519"),
    (r"refused|timed? ?out|No route|unreachable|No such file|reset", TransientError,
     "check host and port, that the server runs, and that firewalls let this worker through"),
)  # fmt: skip
"""Pattern in the message, error, remedy: for what has no error number of the server's."""

_NUMBERS: Final[dict[int, tuple[type[EltError], str]]] = {
    1040: (TransientError, "the server has no connection left: wait, or raise max_connections"),
    1203: (TransientError, "the user has no connection left: wait, or raise max_user_connections"),
    1226: (TransientError, "the user's limit is reached: wait, or raise it"),
    1044: (ConfigurationError, "grant the connection's user access to the database, or name another one"),
    1045: (ConfigurationError, "check user and password of the connection"),
    1698: (ConfigurationError, "check user and password of the connection"),
    3118: (ConfigurationError, "unlock the account: ALTER USER ... ACCOUNT UNLOCK"),
    4151: (ConfigurationError, "unlock the account: ALTER USER ... ACCOUNT UNLOCK"),
    1820: (ConfigurationError, "the password has expired: set a new one"),
    1862: (ConfigurationError, "the password has expired: set a new one"),
    1049: (ConfigurationError, "check the connection's database (schema field), or the table's schema"),
    1129: (ConfigurationError, "the server blocks this worker's address: run FLUSH HOSTS, or raise max_connect_errors"),
    1130: (ConfigurationError, "the server has no account for this worker's address: create 'user'@'address'"),
    1251: (ConfigurationError, "the server and PyMySQL have no login method in common"),
    2026: (ConfigurationError, _CHECK_CERTIFICATE),
    3159: (ConfigurationError, "the server demands TLS: set ssl_mode (and ssl_ca) in the connection's extra"),
    1146: (ConfigurationError, "check schema and table name; capitals count"),
    1054: (ConfigurationError, "check the column's name"),
    1305: (ConfigurationError, "check the function's name"),
    1064: (ConfigurationError, "check the SQL that was given (query, where)"),
    1052: (ConfigurationError, "say which table's column is meant, in query or where"),
    1060: (ConfigurationError, "give each column of the query a name of its own: SELECT ... AS ..."),
    1267: (ConfigurationError, "the SQL that was given compares texts of different collations: add COLLATE"),
    1271: (ConfigurationError, "the SQL that was given compares texts of different collations: add COLLATE"),
    1356: (ConfigurationError, "the view names what is not there, or what its definer may not read: mend the view"),
    1205: (TransientError, "somebody else holds a lock on it; wait, or raise the connection's lock_timeout"),
    1213: (TransientError, "another transaction was in the way; try again"),
    1020: (TransientError, "another transaction was in the way; try again"),
    TABLE_CHANGED: (TransientError, "the table was altered while it was opened; try again"),
    1317: (TransientError, "the statement was cancelled"),
    1927: (TransientError, "the connection was killed on the server; try again"),
    1969: (TransientError, "the statement took longer than statement_timeout"),
    3024: (TransientError, "the statement took longer than statement_timeout"),
    1053: (TransientError, "the server is being stopped; try again"),
    1290: (ConfigurationError, "the server's own options forbid this"),
    1021: (ConfigurationError, "the server's disk is full: make room there"),
    3: (ConfigurationError, "the server's disk is full: make room there"),
    126: (DataError, "the table is damaged: CHECK TABLE and REPAIR TABLE there"),
    145: (DataError, "the table is damaged: CHECK TABLE and REPAIR TABLE there"),
    1194: (DataError, "the table is damaged: CHECK TABLE and REPAIR TABLE there"),
    1153: (ConfigurationError, "raise the server's max_allowed_packet"),
}  # fmt: skip
"""Number of the error, what it is, remedy."""
_LOST: Final = frozenset({0, 2002, 2003, 2006, 2013, 2014, 2027, 2055, 1158, 1159, 1160, 1161})
_DENIED: Final = frozenset({1142, 1143, 1227, 1370})
_DENIED_TO: Final = re.compile(r"^(\w+)[\w ,]* command denied to user (\S+) for table (\S+?)\.?$")


def connect_failure(error: Exception, settings: MySqlSettings) -> EltError:
    """Say why a session could not be opened."""
    number, said = _number(error), _without_secret(_text(error), settings)
    text = f"Cannot connect to MySQL at {settings}: {said}."
    if number in _NUMBERS:
        kind, hint = _NUMBERS[number]
        return kind(text, hint=hint)
    if isinstance(error, ssl.SSLError):
        return ConfigurationError(text, hint=_CHECK_CERTIFICATE)
    for pattern, kind, hint in _WORDS:
        if re.search(pattern, said, re.IGNORECASE):
            return kind(text, hint=hint)
    return TransientError(text, hint="check the connection's fields")


def _without_secret(text: str, settings: MySqlSettings) -> str:
    secret = settings.password.reveal() if settings.password else ""
    return text.replace(secret, "***") if len(secret) > 3 else text  # noqa: PLR2004 - shorter ones would blank out words


def statement_failure(error: Exception, what: str) -> EltError | None:
    """Say what an error of a statement means; None where it is not the server's or the connection's doing."""
    number, said = _number(error), _text(error)
    known = (
        (ConfigurationError, _grant(said)) if number in _DENIED else _NUMBERS.get(number) or _by_class(error, number)
    )
    if known is None:
        return None
    kind, hint = known
    return kind(f"{what[:1].upper()}{what[1:]}: {said}{f' (error {number})' if number else ''}.", hint=hint)


def _by_class(error: Exception, number: int) -> tuple[type[EltError], str] | None:
    if number in _LOST or isinstance(error, OSError | pymysql.err.InterfaceError):
        return TransientError, "the connection to the server was lost; try again"
    return next((known for kind, known in _CLASSES if isinstance(error, kind)), None)


_CLASSES: Final[tuple[tuple[type[Exception], tuple[type[EltError], str]], ...]] = (
    (pymysql.err.DataError, (DataError, "correct the value at the source, or the expression that computes it")),
    (pymysql.err.ProgrammingError, (ConfigurationError, "check the SQL that was given (query, where)")),
    (pymysql.err.NotSupportedError, (ConfigurationError, "the server does not support this")),
    (pymysql.err.OperationalError, (TransientError, "try again; the server's error log may say more")),
)


def number_of(error: Exception) -> int:
    """Return the server's number of an error, 0 where it has none."""
    return _number(error)


def _number(error: Exception) -> int:
    first = error.args[0] if isinstance(error, pymysql.MySQLError) and error.args else 0
    return first if isinstance(first, int) else 0


def _text(error: Exception) -> str:
    said = error.args[1] if isinstance(error, pymysql.MySQLError) and len(error.args) > 1 else error
    return " ".join(str(said).split()).rstrip(".")


def _grant(said: str) -> str:
    found = _DENIED_TO.match(said)
    if not found:
        return "GRANT SELECT on the table TO the connection's user"
    privilege, user, table = found.groups()
    return f"GRANT {privilege} ON {table.replace(chr(39), chr(96))} TO {user}"
