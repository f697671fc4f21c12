"""A day of business: rows that are added and changed, counted truly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

from demo.film_rental import names
from demo.film_rental.loading import add_payment_months
from demo.film_rental.rows import (
    CUSTOMER_COLUMNS,
    FILM_COLUMNS,
    Row,
    address,
    customer,
    film,
    period,
    preferences,
    price,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

LATE = "now() - interval '2 minutes'"  # as from a transaction that took that long to commit


@dataclass
class Change:
    """How many rows of one table were inserted, and how many of the older ones updated."""

    inserted: int = 0
    updated: int = 0


class Day:
    """One day's statements in one transaction; no row is changed twice, so every count is a count of rows."""

    def __init__(self, cursor: Cursor, seed: int) -> None:
        """Prepare a day that depends on `seed` and on what is there."""
        self.cursor = cursor
        self.random = Random(f"{seed} change")
        self.changes: dict[str, Change] = defaultdict(Change)

    def ids(self, table: str, condition: str = "true") -> list[int]:
        """Return the keys of a table's rows."""
        self.cursor.execute(f"SELECT {table}_id FROM {table} WHERE {condition} ORDER BY 1")
        return [row[0] for row in self.cursor.fetchall()]

    def some(self, keys: Sequence[int], count: int) -> list[int]:
        """Choose some of the keys."""
        return self.random.sample(keys, min(count, len(keys)))

    def insert(
        self, table: str, columns: str, rows: Sequence[Row], *, key: bool = True, last_update: str = "now()"
    ) -> list[int]:
        """Insert rows and return their keys."""
        if not rows:
            return []
        returned = f"{table}_id" if key else "0"
        statement = f"INSERT INTO {table} ({columns}, last_update) VALUES %s RETURNING {returned}"
        template = f"({', '.join(['%s'] * len(rows[0]))}, {last_update})"
        keys = [
            row[0] for row in execute_values(self.cursor, statement, rows, template, page_size=len(rows), fetch=True)
        ]
        self.changes[table].inserted += len(keys)
        return keys

    def update(self, table: str, keys: Sequence[int], assignment: str, *values: object) -> None:
        """Update rows by key."""
        condition = f"{table}_id = ANY(%s)"
        self.cursor.execute(
            f"UPDATE {table} SET {assignment}, last_update = now() WHERE {condition}", (*values, list(keys))
        )
        self.changes[table].updated += self.cursor.rowcount

    # --- what happens ---

    def films_arrive(self) -> None:
        """Add actors and films with their cast and copies, change a few prices, correct names."""
        random, categories = self.random, self.ids("category")
        known, films_before = self.ids("actor"), self.ids("film")
        actors = self.insert(
            "actor", "first_name, last_name", [names.person(random) for _ in range(random.randint(3, 6))]
        )
        films = self.insert("film", FILM_COLUMNS, [film(random) for _ in range(random.randint(5, 10))])
        cast = [(actor, number) for number in films for actor in self.some([*actors, *known], 5)]
        self.insert("film_actor", "actor_id, film_id", cast, key=False)
        self.insert(
            "film_category",
            "film_id, category_id",
            [(number, random.choice(categories)) for number in films],
            key=False,
        )
        copies = [(number, random.choice(self.ids("store"))) for number in films for _ in range(3)]
        self.insert("inventory", "film_id, store_id", copies)
        self.update("film", self.some(films_before, random.randint(8, 15)), "rental_rate = rental_rate + 0.50")
        self.update("actor", self.some(known, 2), "last_name = %s", random.choice(names.LAST_NAMES))

    def customers_come_and_go(self) -> None:
        """Let customers join, move, change their minds and leave."""
        random, before, cities = self.random, self.ids("customer"), self.ids("city")
        joining = range(random.randint(6, 12))
        homes = self.insert(
            "address",
            "address, address2, district, city_id, postal_code, phone",
            [address(random, len(cities)) for _ in joining],
        )
        self.insert(
            "customer",
            CUSTOMER_COLUMNS,
            [customer(random, max(before) + 1 + at, homes[at]) for at in joining],
        )
        chosen = self.some(before, 30)
        self.update("address", self.addresses_of(chosen[:10]), "address = %s, address2 = NULL", names.street(random))
        self.update("customer", chosen[10:14], "active = false, email = NULL")
        self.update("customer", chosen[14:], "preferences = %s::jsonb", preferences(random))

    def addresses_of(self, customers: Sequence[int]) -> list[int]:
        """Return where customers live."""
        self.cursor.execute("SELECT address_id FROM customer WHERE customer_id = ANY(%s)", (list(customers),))
        return [row[0] for row in self.cursor.fetchall()]

    def films_are_rented(self) -> None:
        """Rent films out, take older ones back, and enter some of it late."""
        random, now = self.random, datetime.now(UTC)
        still_out = self.ids("rental", "return_date IS NULL")
        copies, customers, staff = self.ids("inventory"), self.ids("customer"), self.ids("staff")

        def rented(minutes_ago: int) -> Row:
            start = now - timedelta(minutes=minutes_ago)
            who = (random.choice(copies), random.choice(customers), random.choice(staff))
            return start, *who, period(start, start + timedelta(days=random.randint(3, 7)))

        columns = "rental_date, inventory_id, customer_id, staff_id, rental_period"
        rentals = self.insert(
            "rental", columns, [rented(random.randint(1, 600)) for _ in range(random.randint(60, 120))]
        )
        rentals += self.insert(
            "rental", columns, [rented(random.randint(600, 2000)) for _ in range(5)], last_update=LATE
        )
        self.update("rental", self.some(still_out, 40), "return_date = now()")
        self.rentals_are_paid(rentals, now)

    def rentals_are_paid(self, rentals: Sequence[int], now: datetime) -> None:
        """Book payments: of most new rentals, of old debts into the month they belong to, and corrections."""
        random = self.random
        before = self.ids("payment")
        add_payment_months(self.cursor, now, now)
        columns = "rental_id, customer_id, staff_id, amount, payment_date"
        self.insert(
            "payment",
            columns,
            [(*debt, price(random), now) for debt in self.debts(self.some(rentals, len(rentals) * 9 // 10))],
        )
        unpaid = "NOT EXISTS (SELECT FROM payment WHERE payment.rental_id = rental.rental_id) AND rental_date < %s"
        self.cursor.execute(
            f"SELECT rental_id, rental_date FROM rental WHERE {unpaid} ORDER BY 1 LIMIT 200",
            (now - timedelta(days=30),),
        )
        dates = dict(self.cursor.fetchall())
        debts = self.debts(self.some(sorted(dates), 6))
        self.insert("payment", columns, [(*debt, price(random), dates[debt[0]]) for debt in debts], last_update=LATE)
        self.update("payment", self.some(before, 12), "amount = greatest(amount - 0.50, 0)")

    def debts(self, rentals: Sequence[int]) -> list[tuple[int, int, int]]:
        """Return rental, customer and staff of rentals."""
        self.cursor.execute(
            "SELECT rental_id, customer_id, staff_id FROM rental WHERE rental_id = ANY(%s) ORDER BY 1",
            (list(rentals),),
        )
        return [(rental, who, staff) for rental, who, staff in self.cursor.fetchall()]


def change(connection: Connection, seed: int = 1) -> dict[str, Change]:
    """Do a day of business in one transaction, commit, and count the rows inserted and updated.

    What is new or changed has `last_update = now()`, but for a few rows entered two minutes late; some
    payments belong to months long past.
    """
    with connection, connection.cursor() as cursor:
        day = Day(cursor, seed)
        day.films_arrive()
        day.customers_come_and_go()
        day.films_are_rented()
    return dict(day.changes)


def add_column(connection: Connection) -> str:
    """Add a column with a default to `customer` and return its name; no row is rewritten."""
    with connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE customer ADD COLUMN loyalty_tier text NOT NULL DEFAULT 'bronze'")
    return "loyalty_tier"
