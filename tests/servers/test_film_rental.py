"""The demo's data: what there is, that a seed decides it, and that its changes are counted truly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.film_rental import Change, add_column, add_events, change, create, create_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from servers.postgres import PostgresServer

TABLES = {
    "actor", "address", "category", "city", "country", "customer", "film", "film_actor", "film_category",
    "inventory", "language", "payment", "rental", "staff", "store",
}  # fmt: skip
CONSTRAINTS = """
    SELECT contype, count(*) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conparentid = 0 AND contype IN ('p', 'f') GROUP BY 1
"""
TYPES = """
    SELECT DISTINCT format_type(atttypid, atttypmod)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0
"""
KEYS = {"film_actor": "actor_id, film_id", "film_category": "film_id, category_id"}


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer) -> Iterator[str]:
    """Create the film rental once, to be copied."""
    with postgres_server.database() as name:
        session = postgres_server.connect(name)
        create(session)
        session.close()
        yield name


@pytest.fixture
def rentals(postgres_server: PostgresServer, template: str) -> Iterator[Connection]:
    """Connect to a film rental of one's own."""
    with postgres_server.database(template=template) as name:
        session = postgres_server.connect(name)
        yield session
        session.close()


def rows(connection: Connection, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def one(connection: Connection, query: str) -> object:
    """Return the value of a query."""
    return rows(connection, query)[0][0]


def contents(connection: Connection, table: str) -> dict[object, str]:
    """Return every row as text, by key."""
    key = KEYS.get(table, f"{table}_id")
    return {row[0]: str(row[1]) for row in rows(connection, f"SELECT ({key})::text, t::text FROM {table} AS t")}


def test_counts(rentals: Connection) -> None:
    found = {table: one(rentals, f"SELECT count(*) FROM {table}") for table in TABLES}
    assert 45_000 < sum(map(int, map(str, found.values()))) < 55_000
    assert found["film"] == 1000
    assert min(map(int, map(str, found.values()))) >= 2


def test_create_returns_its_counts_and_scales(postgres_server: PostgresServer, dbname: str) -> None:
    session = postgres_server.connect(dbname)
    counts = create(session, scale=0.1)
    assert set(counts) == TABLES
    assert counts == {table: one(session, f"SELECT count(*) FROM {table}") for table in TABLES}
    assert counts["film"] == 100
    session.close()


def test_a_seed_decides_everything(postgres_server: PostgresServer, rentals: Connection, dbname: str) -> None:
    again = postgres_server.connect(dbname)
    create(again)
    assert {table: contents(again, table) for table in TABLES} == {table: contents(rentals, table) for table in TABLES}
    again.close()
    with postgres_server.database() as name:
        other = postgres_server.connect(name)
        create(other, seed=8)
        assert contents(other, "customer") != contents(rentals, "customer")
        other.close()


def test_keys_and_types(rentals: Connection) -> None:
    assert set(rows(rentals, CONSTRAINTS)) == {("p", 15), ("f", 22)}
    assert one(rentals, "SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == 0
    types = {row[0] for row in rows(rentals, TYPES)}
    assert {
        "mpaa_rating",
        "year",
        "text[]",
        "tsvector",
        "bytea",
        "jsonb",
        "tstzrange",
        "numeric(5,2)",
        "character(20)",
    } <= types
    assert one(rentals, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'payment'::regclass") == 13


def test_the_data_has_its_corners(rentals: Connection) -> None:
    assert one(rentals, "SELECT count(*) FROM address WHERE address2 IS NULL") != 0
    assert one(rentals, "SELECT count(*) FROM address WHERE address2 = ''") != 0
    assert one(rentals, "SELECT count(*) FROM film WHERE special_features = '{}'") != 0
    assert one(rentals, "SELECT count(*) FROM film WHERE special_features IS NULL") != 0
    assert one(rentals, "SELECT count(*) FROM staff WHERE substr(picture, 2, 3) = 'PNG'") == 6
    assert one(rentals, "SELECT count(*) FROM film WHERE fulltext = ''") == 0
    assert one(rentals, "SELECT count(*) FROM rental WHERE NOT rental_period @> rental_date") == 0


def test_last_update_is_spread_with_a_few_ties(rentals: Connection) -> None:
    assert one(rentals, "SELECT count(DISTINCT last_update) > 17000 FROM rental")
    ties = one(rentals, "SELECT count(*) - count(DISTINCT last_update) FROM inventory")
    assert isinstance(ties, int)
    assert ties > 1000
    for table in TABLES:
        assert one(rentals, f"SELECT max(last_update) < '2025-07-02' FROM {table}")


def test_changes_are_counted_truly(rentals: Connection) -> None:
    for seed in (1, 2, 3):
        before = {table: contents(rentals, table) for table in TABLES}
        said = change(rentals, seed)
        for table in TABLES:
            after = contents(rentals, table)
            inserted = len(after.keys() - before[table].keys())
            updated = sum(after[key] != row for key, row in before[table].items())
            assert (table, said.get(table, Change())) == (table, Change(inserted, updated))
    assert {"actor", "film", "customer", "rental", "payment"} <= {table for table in said if said[table].inserted}
    assert {"actor", "film", "customer", "rental", "payment", "address"} <= {
        table for table in said if said[table].updated
    }


def test_changes_are_new_but_a_few_are_late(rentals: Connection) -> None:
    said = change(rentals)
    found = rows(
        rentals,
        "SELECT DISTINCT last_update FROM rental WHERE last_update > '2026-01-01'",
    )
    assert len(found) == 2
    assert one(
        rentals,
        "SELECT count(*) > 6 FROM payment WHERE last_update > '2026-01-01' AND payment_date < '2025-07-02'",
    )
    for table, counted in said.items():
        fresh = one(rentals, f"SELECT count(*) FROM {table} WHERE last_update > '2026-01-01'")
        assert fresh == counted.inserted + counted.updated


def test_add_column(rentals: Connection) -> None:
    name = add_column(rentals)
    assert rows(rentals, f"SELECT DISTINCT {name} FROM customer") == [("bronze",)]


def test_events(postgres_server: PostgresServer, dbname: str) -> None:
    session = postgres_server.connect(dbname)
    create_events(session, 10_000)
    add_events(session, 5)
    assert rows(session, "SELECT count(*), min(id), max(id) FROM events") == [(10_005, 1, 10_005)]
    width = one(session, "SELECT pg_table_size('events') / 10005")
    assert isinstance(width, int)
    assert 180 < width < 220
    assert one(session, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'events'::regclass AND attnum > 0") == 10
    session.close()
