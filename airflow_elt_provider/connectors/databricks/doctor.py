"""Who we are in a Databricks workspace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from airflow_elt_provider.connectors.databricks.session import DatabricksSession
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.doctor import Finding, ok

_ABOUT: Final = Sql("SELECT current_user(), current_catalog(), current_schema()")


def examine(session: DatabricksSession) -> Iterator[Finding]:
    """Check that the SQL warehouse runs a statement for us."""
    user, catalog, schema = session.query(_ABOUT)[0]
    yield ok("connect", f"SQL warehouse, as {user}, catalog {catalog}, schema {schema}, over TLS")
