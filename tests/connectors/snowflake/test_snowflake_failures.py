"""What errors say: the place, the remedy, and no secret. Texts and numbers are Snowflake's, from its documentation."""

from __future__ import annotations

import pytest
from snowflake.connector import errors

from airflow_elt_provider.connectors.snowflake.failures import (
    MissingObjectError,
    connect_failure,
    statement_failure,
)
from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings, of_connection
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError

SETTINGS = SnowflakeSettings.parse(
    {"account": "org-acct", "database": "RAW", "user": "elt", "password": "hunter22", "role": "ELT_WRITER"}
)


def failure(number, text, state="00000", kind=errors.ProgrammingError):
    return statement_failure(kind(msg=text, errno=number, sqlstate=state), "merging into raw.item", SETTINGS)


@pytest.mark.parametrize(
    ("number", "text", "kind", "remedy"),
    [
        (2003, "SQL compilation error:\nSchema 'RAW.DVD' does not exist or not authorized.", MissingObjectError,
         "GRANT USAGE, CREATE TABLE, CREATE STAGE ON SCHEMA RAW.DVD TO ROLE ELT_WRITER"),
        (2043, "SQL compilation error:\nObject does not exist, or operation cannot be performed.", MissingObjectError,
         "check the name"),
        (2003, "SQL compilation error:\nIntegration 'ELT' does not exist or not authorized.", MissingObjectError,
         "GRANT USAGE ON INTEGRATION ELT TO ROLE ELT_WRITER"),
        (3001, "SQL access control error:\nInsufficient privileges to operate on schema 'DVD'", ConfigurationError,
         "CREATE TABLE, CREATE STAGE ON SCHEMA DVD TO ROLE ELT_WRITER"),
        (3001, "SQL access control error:\nInsufficient privileges to operate on database 'RAW'", ConfigurationError,
         "GRANT USAGE, CREATE SCHEMA ON DATABASE RAW TO ROLE ELT_WRITER"),
        (606, "No active warehouse selected in the current session.", ConfigurationError, "GRANT USAGE ON WAREHOUSE"),
        (604, "SQL execution canceled", TransientError, "cancelled"),
        (625, "Statement 'x' has locked table 'T' in transaction 1 and this lock has not yet been released.",
         TransientError, "elt_lock_timeout"),
        (630, "Statement reached its statement or warehouse timeout of 10 second(s) and was canceled.",
         TransientError, "elt_statement_timeout"),
        (100038, "Numeric value 'x' is not recognized", DataError, "column_types"),
        (100090, "Duplicate row detected during DML action", DataError, "primary_key names all"),
        (904, "SQL compilation error: error line 1\ninvalid identifier 'X'", ConfigurationError, "column names"),
        (91003, "Failure using stage area. Cause: [Access Denied (Status Code: 403; Error Code: AccessDenied)]",
         ConfigurationError, "s3:GetObject"),
        (390114, "Authentication token has expired.", TransientError, "try again"),
        (253003, "While putting file(s) there was an error", TransientError, "internal stage"),
    ],
)  # fmt: skip
def test_statements(number, text, kind, remedy):
    found = failure(number, text)
    assert type(found) is kind
    assert remedy in str(found)
    assert str(found).startswith("Merging into raw.item: ")


def test_a_staged_file_that_is_gone():
    found = failure(91016, "Remote file 's3://b/part-0.parquet' was not found.")
    assert isinstance(found, FileNotFoundError)
    assert found.filename == "s3://b/part-0.parquet"


def test_broken_connections_are_worth_a_retry():
    assert isinstance(failure(250003, "Failed to get the response", kind=errors.OperationalError), TransientError)
    assert isinstance(failure(290500, "HTTP 500", kind=errors.InternalServerError), TransientError)
    assert failure(None, "unknown", kind=errors.DatabaseError) is None


@pytest.mark.parametrize(
    ("number", "text", "kind", "remedy"),
    [
        (390100, "Incorrect username or password was specified.", ConfigurationError, "check user and password"),
        (390144, "JWT token is invalid. [abc]", ConfigurationError, "RSA_PUBLIC_KEY"),
        (390186, "Role 'X' specified in the connect string is not granted to this user.", ConfigurationError,
         "GRANT ROLE"),
        (390422, "Incoming request with IP/Token 1.2.3.4 is not allowed to access Snowflake.", ConfigurationError,
         "network policy"),
        (390303, "Invalid OAuth access token. [abc]", ConfigurationError, "OAuth"),
        (390702, "Your user account has been temporarily locked", ConfigurationError, "SHOW USERS"),
        (250001, "Could not connect to Snowflake backend after 2 attempt(s).Aborting", TransientError, "firewalls"),
    ],
)  # fmt: skip
def test_logging_in(number, text, kind, remedy):
    error = errors.DatabaseError(msg=f"Failed to connect to DB: h:443. {text} hunter22", errno=number, sqlstate="08001")
    found = connect_failure(error, SETTINGS, SETTINGS.credentials())
    assert type(found) is kind
    assert remedy in str(found)
    assert "elt@org-acct/RAW" in str(found)
    assert "hunter22" not in str(found)


def test_settings_hide_what_is_secret():
    assert SETTINGS.credentials() == {"password": Secret("hunter22")}
    assert "hunter22" not in repr(SETTINGS) + str(SETTINGS)
    with pytest.raises(ConfigurationError, match="elt_identifier"):
        SnowflakeSettings.parse({"account": "a", "database": "b", "elt_identifier": "upper"})
    with pytest.raises(ConfigurationError, match="lower"):
        SnowflakeSettings.parse({"account": "a", "database": "b", "elt_identifiers": "lower"})
    with pytest.raises(ConfigurationError, match="no database"):
        SnowflakeSettings.parse({"account": "a"})
    with pytest.raises(ConfigurationError, match="soon"):
        SnowflakeSettings.parse({"account": "a", "database": "b", "elt_lock_timeout": "soon"})


def test_a_connection_without_airflow():
    extra = {"account": "a", "database": "b", "private_key_file": "/k.p8", "elt_stage": "S.B"}
    parts = ConnectionParts("sf", "snowflake", login="ELT", password=Secret("hunter22"), extra=extra)
    settings = of_connection(parts)
    assert (settings.user, settings.schema, settings.stage) == ("ELT", "PUBLIC", "S.B")
    assert settings.login == {"private_key_file": "/k.p8"}
    assert settings.credentials() == {"private_key_file_pwd": Secret("hunter22")}
