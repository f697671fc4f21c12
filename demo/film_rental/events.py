"""The benchmark's table: ten columns of ten types, about 200 bytes a row, made on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

TABLE = """
CREATE TABLE events (
    id bigint NOT NULL,
    customer_id integer NOT NULL,
    description text NOT NULL,
    status varchar(20),
    amount numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL,
    day date NOT NULL,
    active boolean NOT NULL,
    score double precision,
    properties jsonb NOT NULL
)
"""
# Multiplied by primes instead of random(): the same rows each time, and out of order.
ROWS = """
INSERT INTO events
SELECT n,
       mod(n * 7919, 100003)::integer,
       'event ' || md5(n::text),
       (ARRAY['new', 'paid', 'packed', 'shipped', 'delivered', 'returned', NULL])[mod(n, 7) + 1],
       mod(n * 104729, 100000000)::numeric / 100,
       timestamptz '2024-01-01 00:00:00.123456+00' + n * interval '1.500001 seconds',
       date '2024-01-01' + mod(n, 730)::integer,
       mod(n, 3) = 0,
       CASE WHEN mod(n, 11) = 0 THEN NULL ELSE mod(n * 15485863, 1000003)::double precision / 997 END,
       ('{"page": ' || mod(n, 500) || ', "referrer": "campaign-' || mod(n, 41)
           || '", "tags": ["a' || mod(n, 5) || '", "b"]}')::jsonb
FROM generate_series(%s::bigint, %s::bigint) AS n
"""


def create_events(connection: Connection, rows: int) -> None:
    """Create the table `events` with so many rows and its primary key, and commit."""
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute(ROWS, (1, rows))
        cursor.execute("ALTER TABLE events ADD PRIMARY KEY (id)")
    _vacuum(connection)


def add_events(connection: Connection, rows: int) -> None:
    """Add so many rows after the last, and commit."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM events")
        found = cursor.fetchone()
        assert found
        cursor.execute(ROWS, (found[0] + 1, found[0] + rows))


def _vacuum(connection: Connection) -> None:
    """Set hint bits and statistics now, so that the first reader does not pay for it."""
    before, connection.autocommit = connection.autocommit, True
    try:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE events")
    finally:
        connection.autocommit = before
