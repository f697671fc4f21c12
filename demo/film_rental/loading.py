"""Create the film rental database and load it by COPY."""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from demo.film_rental.rows import CLOSED, OPENED, FilmRental, Row

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

HERE = Path(__file__).parent
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
SERIAL_KEYS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND is_identity = 'YES'
"""


def create(connection: Connection, seed: int = 7, scale: float = 1.0) -> dict[str, int]:
    """Create the database in an empty schema public, commit, and return the number of rows of each table.

    The rows depend on `seed` and `scale` alone; at scale 1.0 they are about 50,000.
    """
    business = FilmRental(seed, scale)
    counts = {}
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL search_path TO public, pg_catalog")
        cursor.execute((HERE / "tables.sql").read_text())
        add_payment_months(cursor, OPENED, CLOSED)
        for table, (columns, rows) in business.tables().items():
            cursor.copy_expert(
                f"COPY {table} ({columns}, last_update) FROM STDIN", copy_text(rows(business.stream(table)))
            )
            counts[table] = cursor.rowcount
        cursor.execute((HERE / "constraints.sql").read_text())
        _continue_keys(cursor)
        cursor.execute("ANALYZE")
    return counts


def add_payment_months(cursor: Cursor, first: datetime, last: datetime) -> None:
    """Add the partitions of payment that are missing for the months from `first` to `last`."""
    month = first.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month <= last:
        following = (month + timedelta(days=32)).replace(day=1)
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS payment_{month:%Y_%m} PARTITION OF payment FOR VALUES FROM (%s) TO (%s)",
            (month, following),
        )
        month = following


def copy_text(rows: Iterable[Row]) -> io.StringIO:
    """Write rows in COPY's text format."""
    lines = io.StringIO()
    for row in rows:
        lines.write("\t".join(map(_field, row)))
        lines.write("\n")
    lines.seek(0)
    return lines


def _field(value: object) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, str):
        return value.translate(ESCAPES)
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    if isinstance(value, list):
        return "{" + ",".join(f'"{item}"' for item in value) + "}"
    return str(value)


def _continue_keys(cursor: Cursor) -> None:
    """Let the identity columns continue after the loaded rows."""
    cursor.execute(SERIAL_KEYS)
    for table, column in cursor.fetchall():
        cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) FROM {table}")
