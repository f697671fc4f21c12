"""What the errors of databricks-sql-connector mean, and what to do about them."""

from __future__ import annotations

import re
from typing import Final

from databricks.sql import exc
from urllib3.exceptions import HTTPError

from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError

CONFLICT: Final = re.compile(
    r"\[?(?:DELTA_)?(?:CONCURRENT|ROW_LEVEL_CHANGES|METADATA_CHANGED|PROTOCOL_CHANGED|TRANSACTION_CONFLICT)\w*"
    r"|\b(?:Concurrent\w+|MetadataChanged|ProtocolChanged)Exception"
)
"""Somebody else's commit was first; the statement changed nothing."""
MISSING: Final = frozenset({"TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND", "DELTA_TABLE_NOT_FOUND"})
EXISTS: Final = frozenset({
    "FIELD_ALREADY_EXISTS", "FIELDS_ALREADY_EXISTS", "TABLE_OR_VIEW_ALREADY_EXISTS", "SCHEMA_ALREADY_EXISTS",
})  # fmt: skip
_CLASS: Final = re.compile(r"\[([A-Z][A-Z0-9_]+)(?:\.[A-Z0-9_]+)*\]")
_STATE: Final = re.compile(r"SQLSTATE:? ([0-9A-Z]{5})")
_HTTP: Final = re.compile(r"HTTP-code'?: (\d{3})|Error during request to server: (\d{3})|HTTP (\d{3})")
_GRANTS: Final = "CREATE SCHEMA|CREATE TABLE|USE CATALOG|USE SCHEMA|READ FILES|READ VOLUME|WRITE VOLUME|MODIFY|SELECT"
_PRIVILEGE: Final = re.compile(rf"\b({_GRANTS})\b", re.IGNORECASE)
_OBJECT: Final = re.compile(
    r"(?:on|for) (Catalog|Schema|Table|External Location|Volume|Storage Credential) '([^']+)'", re.IGNORECASE
)

_CLASSES: Final[tuple[tuple[str, type[EltError], str], ...]] = (
    (r"CANNOT_.*CONNECT|.*_NOT_RUNNING|.*TEMPORARILY.*|RESOURCE_EXHAUSTED|REQUEST_LIMIT_EXCEEDED|.*TIMED?_?OUT.*",
     TransientError, "see whether the warehouse runs, and try again"),
    ("USER_RAISED_EXCEPTION", TransientError, "another load took this one's place; try again"),
    ("NO_PARENT_EXTERNAL_LOCATION_FOR_PATH|UNAUTHORIZED_ACCESS|.*CREDENTIAL.*", ConfigurationError,
     ("make an external location over the stage and GRANT READ FILES ON EXTERNAL LOCATION ... TO this identity, "
     "or set elt_credential or elt_credentials in the connection's extra")),
    ("DELTA_UNSUPPORTED_(RENAME|DROP)_COLUMN", ConfigurationError,
     ("the table cannot rename columns: ALTER TABLE ... SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name'), "
     "or leave the column: on_schema_drift={'narrowed': 'freeze', 'widened': 'freeze'}")),
    ("DELTA_UNSUPPORTED_ALTER_TABLE_CHANGE_COL_OP", ConfigurationError,
     ("let the table widen its columns: ALTER TABLE ... SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true'), "
     "or leave the column: on_schema_drift={'widened': 'freeze'}")),
    ("DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES?", ConfigurationError,
     "rename the column (rename={...}), or ALTER TABLE ... SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"),
    ("DELTA_(NOT_NULL|VIOLATE|CHECK|NEW_NOT_NULL)\\w*|.*CONSTRAINT.*", DataError,
     "the rows break a constraint of the target: correct them, or drop the constraint"),
    ("DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE", DataError,
     "the load has a key more than once: name another primary_key"),
    ("PATH_NOT_FOUND|FAILED_READ_FILE|PARQUET_\\w+|CANNOT_READ_FILE\\w*", DataError,
     "clear the load from its extract task on"),
    ("CAST_\\w+|ARITHMETIC_OVERFLOW|NUMERIC_\\w+|DATETIME_\\w+|INVALID_\\w*VALUE\\w*", DataError,
     "correct the value at the source, or take the column as text: column_types={'column': 'string'}"),
    ("\\w+_NOT_FOUND|UNRESOLVED_\\w+|PARSE_\\w+|DELTA_\\w+|UNSUPPORTED_\\w+|FEATURE_NOT_\\w+", ConfigurationError,
     "check the names, the SQL that was given (checks), and table_options"),
)  # fmt: skip
"""Error class, error, remedy; the first that fits counts."""


def error_class(error: BaseException) -> str:
    """Return the error class that a message of the warehouse begins with, or ""."""
    found = _CLASS.search(str(error))
    return found[1] if found else ""


def is_conflict(error: BaseException) -> bool:
    """Whether a statement changed nothing because somebody else's commit was first."""
    return bool(CONFLICT.search(str(error)))


def statement_failure(error: Exception, what: str, privilege: str) -> EltError | None:
    """Say what an error of a statement means; None where it is not the warehouse's or the connection's doing."""
    text = f"{what[:1].upper()}{what[1:]}: {_text(error)}"
    if isinstance(error, exc.RequestError | exc.MaxRetryDurationError) or not _CLASS.search(str(error)):
        return _lost(error, text)
    if is_conflict(error):
        return TransientError(text, hint="others write to this table all the time; try again")
    name = error_class(error)
    state = _STATE.search(str(error))
    if name in {"INSUFFICIENT_PERMISSIONS", "INSUFFICIENT_PRIVILEGES", "PERMISSION_DENIED"} or (
        state and state[1] == "42501"
    ):
        return ConfigurationError(text, hint=_grant(str(error), privilege))
    for pattern, kind, hint in _CLASSES:
        if re.fullmatch(pattern, name):
            return kind(text, hint=hint)
    return None


def connect_failure(error: Exception, settings: DatabricksSettings) -> EltError:
    """Say why a session could not be opened."""
    text = f"Cannot connect to Databricks at {settings}: {_text(error)}"
    hint = "check host and http_path, that the warehouse may start, and that firewalls let this worker through"
    return _denied(error, text) or TransientError(text, hint=hint)


def _lost(error: Exception, text: str) -> EltError | None:
    if not isinstance(error, exc.Error | HTTPError):
        return None
    return _denied(error, text) or TransientError(text, hint="see whether the warehouse runs, and try again")


def _denied(error: Exception, text: str) -> EltError | None:
    said = _said(error)
    found = _HTTP.search(said)
    status = next((group for group in found.groups() if group), "") if found else ""
    if status in {"401", "403"} or re.search(r"[Ii]nvalid access token|[Uu]nauthori[sz]ed|[Ff]orbidden", said):
        return ConfigurationError(
            text,
            hint="check the token (or OAuth client) of the connection; its identity needs CAN USE on the warehouse",
        )
    if status == "404" or "certificate" in said.lower():
        return ConfigurationError(text, hint="check host, http_path and _tls_trusted_ca_file of the connection")
    return None


def _said(error: Exception) -> str:
    context = getattr(error, "context", None) or {}
    return f"{error} {context}"


def _text(error: Exception) -> str:
    context = getattr(error, "context", None) or {}
    more = context.get("original-exception") or context.get("http-code") or ""
    message = " ".join(str(error).split())[:800]
    return f"{message} ({more})" if more and str(more) not in message else message


def _grant(said: str, privilege: str) -> str:
    asked, on = _PRIVILEGE.search(said), _OBJECT.search(said)
    wanted = asked[1].upper() if asked else privilege
    where = f"{on[1].upper()} {on[2]}" if on else "the object"
    return f"GRANT {wanted} ON {where} TO the connection's identity"
