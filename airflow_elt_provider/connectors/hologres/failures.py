"""What Hologres' own errors mean, and what to do about them; what is PostgreSQL's is explained there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2

from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError

_WHITELIST: Final = (
    "add this worker's outbound address to the instance's IP whitelist (HoloWeb, Security Center), or connect through "
    "its VPC endpoint"
)
_LOGIN: Final = (
    "the login is the AccessKey id of a user of the instance and the password its AccessKey secret, which must not be "
    "disabled; or BASIC$name and that user's password"
)
_CONNECT: Final[tuple[tuple[str, str], ...]] = (
    (r"white ?-?list|allow ?-?list|ip (address )?.*(not allowed|denied|forbidden)|pg_hba\.conf rejects", _WHITELIST),
    (r"server does not support SSL",
     ("switch TLS on for the instance (HoloWeb, Security Center, or the console's instance details), or, in a VPC, set "
      "sslmode=disable in the connection's extra")),
    (r"pg_hba\.conf.*(no encryption|SSL off)",
     ("the instance wants TLS: set sslmode=require, or verify-full with sslrootcert, in the connection's extra; if "
      f"that is set, {_WHITELIST}")),
    (r"role .* does not exist",
     "add the RAM user to the instance (HoloWeb, Security Center, User Management), or check the AccessKey id"),
    (r"password authentication failed", _LOGIN),
    (r"database .* does not exist", "check the connection's database (schema field)"),
)  # fmt: skip
"""Pattern in the message of an error of connecting, remedy."""
_MODELS: Final = (
    "; where the database uses the simple permission model, add the user to its developer group instead: "
    "CALL spm_grant('<database>_developer', '<user>'); with the schema-level model: "
    "CALL slpm_grant('<database>.<schema>.developer', '<user>')"
)
_NOT_NOW: Final = re.compile(r"^HG0|^XX000$")
_TWICE: Final = re.compile(r"^Update row with Key .* multiple times")
_LACKING: Final = re.compile(r"not support|unsupported|not implemented", re.IGNORECASE)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Put into an error what is particular about Hologres.

    :param what: what is being done, as the beginning of a sentence.
    """
    try:
        yield
    except EltError as error:
        cause = error.__cause__
        if not isinstance(cause, psycopg2.Error):
            raise
        raise _told(error, cause) from cause
    except psycopg2.Error as error:
        raise _internal(error, what) or error from error


def _told(error: EltError, cause: psycopg2.Error) -> EltError:
    message = error.message.replace("Cannot connect to PostgreSQL", "Cannot connect to Hologres")
    if cause.pgcode is None:
        for pattern, hint in _CONNECT:
            if re.search(pattern, message, re.IGNORECASE):
                return ConfigurationError(message, hint=hint)
    hint = error.hint + _MODELS if cause.pgcode == "42501" else error.hint
    return type(error)(message, hint=hint) if (message, hint) != (error.message, error.hint) else error


def _internal(error: psycopg2.Error, what: str) -> EltError | None:
    state = error.pgcode or ""
    said = " ".join((error.diag.message_primary or str(error)).split())[:500]
    text = f"{what[:1].upper()}{what[1:]}: {said} (SQLSTATE {state})."
    if state == "21000" or _TWICE.search(said):
        return DataError(
            text, hint="a key is there more than once: name the columns that identify a row, primary_key=[...]"
        )
    if not _NOT_NOW.search(state):
        return None
    if _LACKING.search(said):
        return ConfigurationError(text, hint="this Hologres instance cannot do it; a newer version may")
    return TransientError(text, hint="Hologres had an internal problem, or a table was changed meanwhile: try again")
