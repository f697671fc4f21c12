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
    yield _named("warehouse", warehouse, f"GRANT USAGE ON WAREHOUSE ... TO ROLE {role}")
    yield _named("database", database, f"GRANT USAGE, CREATE SCHEMA ON DATABASE ... TO ROLE {role}")


def _named(what: str, name: str | None, grant: str) -> Finding:
    if name:
        return ok(what, name)
    return problem(what, "the session has none", f"{grant}, and name it in the connection's extra: {what}")
