"""What gives rows other values in the target without a new version of any row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres.catalog import PG_18, Relation, query_rows
from airflow_elt_provider.connectors.postgres.selection import Selection

_TYPES: Final = """
WITH RECURSIVE known(oid) AS (
    SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
    UNION SELECT below.oid FROM known JOIN pg_catalog.pg_type t ON t.oid = known.oid CROSS JOIN LATERAL (
        SELECT t.typelem UNION ALL SELECT t.typbasetype
        UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
    ) below(oid) WHERE below.oid <> 0)
SELECT 'label ' || e.oid, e.enumlabel::text FROM known JOIN pg_catalog.pg_enum e ON e.enumtypid = known.oid
UNION ALL
SELECT 'type ' || t.oid, pg_catalog.string_agg(
    concat_ws(' ', a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
FROM known JOIN pg_catalog.pg_type t ON t.oid = known.oid AND t.typtype = 'c'
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY t.oid ORDER BY 1
"""
_VIRTUAL: Final = """
SELECT 'virtual ' || d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = %s AND a.attgenerated = 'v' ORDER BY d.adnum
"""
_REASONS: Final = {
    "label": "a value of an enumeration was renamed",
    "type": "a composite type has other attributes",
    "virtual": "a virtual column has another expression",
}


def read_meanings(connection: Connection, relation: Relation) -> dict[str, str]:
    """Return what rows hold no more than a reference to: labels, composite types, expressions of virtual columns."""
    found = query_rows(connection, _TYPES, (relation.oid,))
    if connection.server_version >= PG_18:
        found += query_rows(connection, _VIRTUAL, (relation.oid,))
    return dict(found)


def column_meanings(selection: Selection) -> dict[str, str]:
    """Return name and type that each column has in the target by the user's wish."""
    return {
        f"column {column.source.name}": json.dumps([column.column.name, str(column.override or "")])
        for column in selection.columns
    }


def altered(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return why values read then would be others now; "" where they are the same."""
    other = [name.partition(" ") for name, meaning in before.items() if now.get(name, meaning) != meaning]
    columns = [name for kind, _, name in other if kind == "column"]
    if columns:
        return f"column {', '.join(columns)} has another name or type in the target"
    return next((_REASONS[kind] for kind, _, _ in other), "")
