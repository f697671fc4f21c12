"""Changes of type that need a second column: what a dead load left is finished, and what cannot end is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_elt_provider.connectors.snowflake import catalog
from airflow_elt_provider.connectors.snowflake.catalog import Replaced
from airflow_elt_provider.connectors.snowflake.dialect import REPLACED, SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.session import SnowflakeSession
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.errors import ConfigurationError


def finish(session: SnowflakeSession, dialect: SnowflakeDialect, load: Load, replaced: Mapping[str, Replaced]) -> None:
    """Finish the changes of type that a dead load began."""
    refuse_clustered(session, dialect, load, [REPLACED + name for name, half in replaced.items() if half.type_])
    for name, half in replaced.items():
        for sql in dialect.unfinished(load.target, name, half.before, half.type_):
            session.execute(sql)


def refuse_clustered(session: SnowflakeSession, dialect: SnowflakeDialect, load: Load, columns: Sequence[str]) -> None:
    """Refuse to drop a column that the clustering key has: every later load would fail at it.

    :param columns: that are to go; Snowflake is asked only if there are any.
    :raises ConfigurationError: names the column and the statement that frees it.
    """
    clustered = catalog.clustered(session, dialect, load.target) if columns else frozenset()
    for name in columns:
        if dialect.fold(name) in clustered:
            raise ConfigurationError(
                f"{load.target}: to change a type, column {name!r} has to be dropped, and it is in the clustering key.",
                hint=f"ALTER TABLE {dialect.table(load.target)} DROP CLUSTERING KEY, and CLUSTER BY again after the "
                "next load; or leave types alone: on_schema_drift={'widened': 'freeze', 'narrowed': 'freeze'}",
            )
