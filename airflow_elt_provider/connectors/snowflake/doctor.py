"""Who we are in a Snowflake account, and what the session lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from airflow_elt_provider.connectors.snowflake.session import SnowflakeSession
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, ok, problem

_ABOUT: Final = Sql("SELECT CURRENT_VERSION(), CURRENT_USER(), CURRENT_ROLE(), CURRENT_WAREHOUSE(), CURRENT_DATABASE()")


def examine(session: SnowflakeSession) -> Iterator[Finding]:
    """Check the login, and that there is a warehouse to run in and a database to write to."""
    version, user, role, warehouse, database = session.query(_ABOUT)[0]
    yield ok("connect", f"Snowflake {version}, as user {user} in role {role}, over TLS")
    if warehouse:
        yield ok("warehouse", str(warehouse))
    else:
        yield problem(
            "warehouse", "the session has none", f"GRANT USAGE ON WAREHOUSE ... TO ROLE {role}, and name it in the "
            "connection's extra: warehouse",
        )  # fmt: skip
    if database:
        yield ok("database", str(database))
    else:
        yield problem(
            "database", "the session has none", f"GRANT USAGE, CREATE SCHEMA ON DATABASE ... TO ROLE {role}, and name "
            "it in the connection's extra: database",
        )  # fmt: skip
