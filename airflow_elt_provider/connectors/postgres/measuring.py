"""How much an extract would read, without reading it."""

from __future__ import annotations

from typing import Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

from airflow_elt_provider.connectors.postgres import snapshot
from airflow_elt_provider.connectors.postgres.catalog import Relation, query_rows
from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.selection import select_columns
from airflow_elt_provider.connectors.postgres.session import translate
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.preview import Measured

_COUNTED: Final = 5_000_000
"""Of a table that is read whole, and has more rows than this by the server's statistics, nobody counts them."""
_SAMPLE: Final = 1000
_STATISTICS: Final = """
SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::int8
FROM pg_catalog.pg_class c
WHERE c.relkind IN ('r', 'm')
  AND (c.oid = %s OR c.oid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = %s))
"""


def measure(connection: Connection, extraction: Extraction, predicate: str) -> Measured:
    """Count the rows of a predicate, and take their size from the first of them."""
    relation = snapshot.open_relation(connection, extraction)
    with translate(f"counting the rows of {extraction.source}"):
        selection = select_columns(relation, extraction)
        where = f"(\n{extraction.where}\n) AND ({predicate})" if extraction.where else f"({predicate})"
        known = _known(connection, relation)
        exact = predicate != "true" or extraction.where is not None or known <= _COUNTED
        rows = known
        if exact:
            rows = int(query_rows(connection, f"SELECT count(*) FROM {relation.from_item} WHERE {where}")[0][0])
        columns = ", ".join(quoted(name) for name in selection.names)
        sample = f"SELECT {columns} FROM {relation.from_item} WHERE {where} LIMIT {_SAMPLE}"
        size = query_rows(connection, f"SELECT avg(octet_length(ROW(s.*)::text)) FROM ({sample}) s")[0][0]
    return Measured(rows, exact, None if size is None else round(float(size) * rows))


def _known(connection: Connection, relation: Relation) -> int:
    if not relation.oid:
        return 0
    return int(query_rows(connection, _STATISTICS, (relation.oid, relation.oid))[0][0])
