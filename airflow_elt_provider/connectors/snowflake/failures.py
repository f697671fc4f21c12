"""What the errors of Snowflake and its driver mean, and what to do about them."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from snowflake.connector import errors

from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError


class MissingObjectError(ConfigurationError):
    """What Snowflake does not have, or does not show to the role."""


class AlreadyThereError(TransientError):
    """Somebody else made the same thing at the same moment."""


_Kind = Callable[..., EltError]
_AUTHENTICATION: Final[tuple[tuple[str, _Kind, str], ...]] = (
    (r"IP/Token .* not allowed|network policy|390422", ConfigurationError,
     "the account's network policy does not let this worker in: allow its address"),
    (r"(JWT|390144)", ConfigurationError,
     "check the private key and its passphrase, and that ALTER USER ... SET RSA_PUBLIC_KEY has its public half"),
    (r"(?i)oauth|39030[0-9]|390318", ConfigurationError, "check the OAuth token, client and integration"),
    (r"(?i)role .* (not granted|does not exist)|390186|390189", ConfigurationError,
     "check the connection's role, and GRANT ROLE ... TO USER ..."),
    (r"(?i)username or password|390100", ConfigurationError, "check user and password of the connection"),
    (r"(?i)locked|disabled|expired|39010[1-9]", ConfigurationError, "see the user's state: SHOW USERS"),
    (r"(?i)certificate|OCSP|SSL", ConfigurationError,
     "see that the worker trusts the certificate (REQUESTS_CA_BUNDLE) and reaches Snowflake's OCSP servers"),
    (r"404|HTTP 403|(?i:account name)|251001", ConfigurationError,
     "check the connection's account: organization-account"),
    (r"(?i)private.?key|password.* given but|bad decrypt|Could not deserialize", ConfigurationError,
     "check the private key and its passphrase"),
)  # fmt: skip
"""Pattern in an error of logging in, error, remedy."""

_NUMBERS: Final[tuple[tuple[range, _Kind, str], ...]] = (
    (range(2003, 2004), MissingObjectError, "check the name, and what the role may see"),
    (range(2043, 2044), MissingObjectError, "check the name, and what the role may see"),
    (range(2002, 2003), AlreadyThereError, "try again"),
    (range(604, 605), TransientError, "the statement was cancelled; clear the task to run it again"),
    (range(625, 626), TransientError, "another transaction holds the table; wait, or raise elt_lock_timeout"),
    (range(630, 631), TransientError,
     "raise elt_statement_timeout or the warehouse's STATEMENT_TIMEOUT_IN_SECONDS, or use a larger warehouse"),
    (range(606, 607), ConfigurationError,
     "name a warehouse in the connection's extra, and GRANT USAGE ON WAREHOUSE ... TO ROLE ..."),
    (range(600, 700), TransientError, "Snowflake could not finish the statement; try again"),
    (range(90073, 90074), ConfigurationError, "the account is over its resource monitor's quota"),
    (range(90105, 90110), ConfigurationError, "check database and schema of the connection"),
    (range(90149, 90150), TransientError, "the transaction was ended by Snowflake; try again"),
    (range(91003, 91004), ConfigurationError,
     "let the storage integration, or the keys, read the bucket: s3:GetObject and s3:ListBucket (and kms:Decrypt)"),
    (range(904, 905), ConfigurationError, "check the column names in the SQL that was given (checks)"),
    (range(100090, 100091), DataError,
     "the load has a key twice: see that primary_key names all columns that identify a row"),
    (range(100000, 110000), DataError,
     "correct the value at the source, or take the column as text: column_types={'column': 'text'}"),
    (range(253000, 254000), TransientError, "sending the file to the internal stage failed; try again"),
    (range(390110, 390120), TransientError, "the session has ended; try again"),
    (range(390000, 390500), ConfigurationError, "check how the connection logs in"),
    (range(1000, 4000), ConfigurationError, "check the SQL that was given (checks, table_options), and its names"),
)  # fmt: skip
"""Numbers of Snowflake's errors, error, remedy; the first that fits counts."""
_OF_LOGGING_IN: Final = range(390000, 391000)
_OF_THE_DRIVER: Final = range(250000, 300000)
_FILE_GONE: Final = frozenset({91016, 100016})
_DENIED: Final = 3001
_PRIVILEGE: Final = re.compile(r"[Ii]nsufficient privileges to operate on (?P<kind>[\w ]+?) '?\"?(?P<name>[^'\"]+)")
_OBJECT: Final = re.compile(r"(?P<kind>Object|Table|Schema|Database|Stage|Integration|Warehouse) '(?P<name>[^']+)'")
_GRANTS: Final[Mapping[str, str]] = {
    "account": "GRANT CREATE DATABASE ON ACCOUNT",
    "database": "GRANT USAGE, CREATE SCHEMA ON DATABASE {name}",
    "schema": "GRANT USAGE, CREATE TABLE, CREATE STAGE ON SCHEMA {name}",
    "table": "GRANT OWNERSHIP (to add columns), or SELECT, INSERT, UPDATE, DELETE, ON TABLE {name}",
    "object": "GRANT USAGE on its database and schema, and SELECT, INSERT, UPDATE, DELETE ON TABLE {name}",
    "stage": "GRANT USAGE (READ, WRITE for an internal one) ON STAGE {name}",
    "integration": "GRANT USAGE ON INTEGRATION {name}",
    "warehouse": "GRANT USAGE ON WAREHOUSE {name}",
}


def connect_failure(error: Exception, settings: SnowflakeSettings, secrets: Mapping[str, Secret]) -> EltError:
    """Say why a login failed."""
    number = getattr(error, "errno", "")
    text = without_secrets(f"Cannot log in to Snowflake as {settings}: {_text(error)}", secrets)
    for pattern, kind, hint in _AUTHENTICATION:
        if re.search(pattern, f"{number} {error}"):
            return kind(text, hint=hint)
    if isinstance(error, errors.ProgrammingError | ValueError | TypeError) or int(number or 0) in _OF_LOGGING_IN:
        return ConfigurationError(text, hint="check the connection's fields and extra")
    return TransientError(text, hint="see that the account exists and that firewalls let this worker through")


@contextmanager
def translate(what: str, settings: SnowflakeSettings) -> Iterator[None]:
    """Turn Snowflake's errors into ours.

    :param what: what is being done, as the beginning of a sentence.
    :raises FileNotFoundError: for a staged file that is gone.
    """
    try:
        yield
    except errors.Error as error:
        failure = statement_failure(error, what, settings)
        if failure is None:
            raise
        raise failure from error


def statement_failure(error: errors.Error, what: str, settings: SnowflakeSettings) -> Exception | None:
    """Say what an error of a statement means; None where nobody knows."""
    number = int(error.errno or 0)
    text = f"{what[:1].upper()}{what[1:]}: {_text(error)}"
    if number in _FILE_GONE:
        return FileNotFoundError(errno.ENOENT, _text(error), _file(error))
    if number == _DENIED:
        return ConfigurationError(text, hint=_grant(_PRIVILEGE.search(str(error)), settings))
    for numbers, kind, hint in _NUMBERS:
        if number in numbers:
            found = _OBJECT.search(str(error)) if kind is MissingObjectError else None
            return kind(text, hint=f"{hint}: {_grant(found, settings)}" if found else hint)
    driver = errors.OperationalError | errors.InterfaceError | errors.HttpError
    if isinstance(error, driver) or number in _OF_THE_DRIVER or not isinstance(error, errors.DatabaseError):
        return TransientError(f"{text} (the connection to Snowflake failed).", hint="try again")
    return None


def _grant(found: re.Match[str] | None, settings: SnowflakeSettings) -> str:
    role = settings.login.get("role") or "the connection's role"
    if found is None:
        return f"grant {role} the privilege that docs/systems/snowflake.md lists for this step"
    kind, name = found["kind"].lower(), found["name"]
    return f"{_GRANTS.get(kind, f'GRANT USAGE ON {kind.upper()} {{name}}').format(name=name)} TO ROLE {role}"


def _file(error: errors.Error) -> str:
    found = re.search(r"[Ff]ile '?\"?([^'\"]+)|pattern \"([^\"]+)\"", str(error))
    return next((part for part in found.groups() if part), "") if found else ""


def without_secrets(text: str, secrets: Mapping[str, Secret]) -> str:
    """Return a text in which no secret can be read."""
    for secret in secrets.values():
        if len(secret.reveal()) > 3:  # noqa: PLR2004 - shorter ones would blank out words
            text = text.replace(secret.reveal(), "***")
    return text


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:600]
