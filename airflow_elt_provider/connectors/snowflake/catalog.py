"""What Snowflake knows of tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from snowflake.connector.errors import ProgrammingError

from airflow_elt_provider.connectors.snowflake.dialect import REPLACED, RETYPED, SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.session import SnowflakeSession
from airflow_elt_provider.connectors.snowflake.types import spelled
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.evolve import TargetTable
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.system_columns import RESERVED
from airflow_elt_provider.core.table_ref import TableRef

_MISSING: Final = frozenset({2003, 2043})
_STAGING: Final = re.compile(r"(?:(?:STAGING|LOADING)_)?((\d{8}T\d{6})_[0-9A-F]{32}_[0-9A-F]{8})")


_COLUMN: Final = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_][\w$]*)')


@dataclass(frozen=True)
class Replaced:
    """A column whose change of type a dead load left half done.

    :param before: the type that it had.
    :param type_: the type that it has now; "" where it is not there.
    """

    before: str
    type_: str


@dataclass(frozen=True)
class Described:
    """A target.

    :param table: its columns, spelled as the load spells them; without those that a change of type needs.
    :param replaced: columns, in the catalog's spelling, whose change of type has to be finished.
    :param masked: columns that a masking policy hides.
    """

    table: TargetTable
    replaced: dict[str, Replaced] = field(default_factory=dict)
    masked: frozenset[str] = frozenset()


def describe(session: SnowflakeSession, dialect: SnowflakeDialect, load: Load) -> Described | None:
    """Return the target of a load; None while there is none, or none that the role sees."""
    base = load.manifest.base_position
    before = (*(base.columns if base else ()), *load.manifest.renamed.values())
    known = (*before, *load.manifest.schema.names)
    return describe_table(session, dialect, load.target, known)


def describe_table(
    session: SnowflakeSession, dialect: SnowflakeDialect, target: TableRef, known: Sequence[str]
) -> Described | None:
    """Return a table with its columns spelled as those that are known; None while there is none."""
    try:
        names, rows = session.table(f"DESCRIBE TABLE {dialect.table(target)}")
    except ProgrammingError as error:
        if not missing(error):
            raise
        return None
    spelling = {dialect.fold(name): name for name in (*RESERVED, *known)}
    found = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {str(row["name"]): spelled(str(row["type"])) for row in found}
    masked = {str(row["name"]) for row in found if row.get("policy name")}
    temporary = tuple(dialect.fold(prefix) for prefix in (RETYPED, REPLACED))
    shown = {name: type_ for name, type_ in columns.items() if not name.startswith(temporary)}
    half = {name.removeprefix(temporary[1]): name for name in columns if name.startswith(temporary[1])}
    return Described(
        TargetTable({spelling.get(name, name): type_ for name, type_ in shown.items()}),
        {name: Replaced(columns[old], shown.get(name, "")) for name, old in half.items()},
        frozenset(spelling.get(name, name) for name in masked),
    )


def clustered(session: SnowflakeSession, dialect: SnowflakeDialect, ref: TableRef) -> frozenset[str]:
    """Return the columns of a table's clustering key, and other words of it."""
    names, rows = session.table(show(dialect, ref))
    found = [dict(zip(names, row, strict=True)) for row in rows]
    own = dialect.fold(dialect.parts(ref)[2])
    return frozenset().union(*(columns_of(str(row["cluster_by"] or "")) for row in found if row["name"] == own))


def show(dialect: SnowflakeDialect, ref: TableRef) -> Sql:
    """Return what shows a table, and others whose names are like it."""
    pattern = dialect.literal(dialect.fold(dialect.parts(ref)[2]).replace("\\", "_"))
    return Sql(f"SHOW TABLES LIKE {pattern} IN SCHEMA {dialect.schema_of(ref)}")


def columns_of(clustering: str) -> frozenset[str]:
    """Return the names in a clustering key such as ``LINEAR(ID, TO_DATE("seen"))``, those of functions too."""
    found = _COLUMN.finditer(clustering)
    return frozenset(each[1].replace('""', '"') if each[1] else each[2].upper() for each in found)


def missing(error: ProgrammingError) -> bool:
    """Whether an error says that something is not there, or not shown."""
    return error.errno in _MISSING


def staging_tables(session: SnowflakeSession, dialect: SnowflakeDialect, kind: str = "") -> list[str]:
    """Return our staging tables, oldest first; complete ones alone for ``STAGING``."""
    pattern = dialect.literal(f"{kind or '%'}_%")
    try:
        names, rows = session.table(f"SHOW TERSE TABLES LIKE {pattern} IN SCHEMA {dialect.own_schema}")
    except ProgrammingError as error:
        if not missing(error):
            raise
        return []
    at = names.index("name")
    found = (str(row[at]) for row in rows)
    return sorted(name for name in found if _STAGING.fullmatch(name) and name.startswith(kind))


def made_at(staging: str) -> datetime:
    """Return when a staging table, or a folder of that name, was made."""
    found = _STAGING.fullmatch(staging)
    return datetime.strptime(found[2], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if found else datetime.now(UTC)


def sent_folders(session: SnowflakeSession, stage: str) -> list[str]:
    """Return the folders of the internal stage that attempts have sent files into."""
    try:
        names, rows = session.table(f"LIST @{stage}")
    except ProgrammingError as error:
        if not missing(error):
            raise
        return []
    at = names.index("name")
    paths = [str(row[at]).split("/") for row in rows]
    return sorted({path[-2] for path in paths if len(path) > 1 and _STAGING.fullmatch(path[-2])})


def exists(session: SnowflakeSession, table: Sql) -> bool:
    """Whether a table is there."""
    try:
        session.query(f"DESCRIBE TABLE {table}")
    except ProgrammingError as error:
        if not missing(error):
            raise
        return False
    return True
