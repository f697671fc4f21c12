"""The rows of the film rental database: the same for the same seed, spread over one year of business."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from demo.film_rental import names

Row = Sequence[object]

OPENED = datetime(2024, 7, 1, tzinfo=UTC)
CLOSED = datetime(2025, 7, 1, tzinfo=UTC)  # no row is as young as this: what changes later is always newer
RATINGS = ("G", "PG", "PG-13", "R", "NC-17")
STORES = 2
STAFF = 8
# At scale 1.0; the rest is fixed or follows from these.
ACTORS, FILMS, CUSTOMERS, RENTALS = 200, 1000, 600, 17_500
COPIES = 4.5  # of a film, on average
UNPAID = 0.02
STILL_OUT = 0.015


class FilmRental:
    """Generates the rows of each table, in the order in which they refer to each other."""

    def __init__(self, seed: int, scale: float) -> None:
        """Prepare to generate; every table has random numbers of its own."""
        self.seed = seed
        self.actors, self.films, self.customers, self.rentals = (
            max(20, round(count * scale)) for count in (ACTORS, FILMS, CUSTOMERS, RENTALS)
        )
        self.copies = round(self.films * COPIES)
        self.addresses = STORES + STAFF + self.customers
        self.cities = 300

    def tables(self) -> dict[str, tuple[str, Callable[[Random], Iterator[Row]]]]:
        """Return columns and rows by table."""
        return {
            "language": ("language_id, name", self.languages),
            "category": ("category_id, name", self.categories),
            "country": ("country_id, country", self.countries),
            "city": ("city_id, city, country_id", self.city_rows),
            "address": (
                "address_id, address, address2, district, city_id, postal_code, phone",
                self.address_rows,
            ),
            "actor": ("actor_id, first_name, last_name", self.actor_rows),
            "film": (f"film_id, {FILM_COLUMNS}", self.film_rows),
            "film_actor": ("actor_id, film_id", self.film_actors),
            "film_category": ("film_id, category_id", self.film_categories),
            "store": ("store_id, manager_staff_id, address_id", self.stores),
            "staff": (
                "staff_id, first_name, last_name, address_id, email, store_id, active, username, picture",
                self.staff,
            ),
            "customer": (f"customer_id, {CUSTOMER_COLUMNS}", self.customer_rows),
            "inventory": ("inventory_id, film_id, store_id", self.inventory),
            "rental": (
                "rental_id, rental_date, inventory_id, customer_id, staff_id, rental_period, return_date",
                self.rental_rows,
            ),
            "payment": ("payment_id, customer_id, staff_id, rental_id, amount, payment_date", self.payments),
        }

    def stream(self, table: str) -> Random:
        """Return the random numbers of a table."""
        return Random(f"{self.seed} {table}")

    def languages(self, _random: Random) -> Iterator[Row]:
        """Yield languages, all entered when the business opened: rows that share one last_update."""
        for number, name in enumerate(names.LANGUAGES, 1):
            yield number, name, OPENED

    def categories(self, _random: Random) -> Iterator[Row]:
        """Yield categories, entered together too."""
        for number, name in enumerate(names.CATEGORIES, 1):
            yield number, name, OPENED

    def countries(self, random: Random) -> Iterator[Row]:
        """Yield countries."""
        for number, name in enumerate(names.COUNTRIES, 1):
            yield number, name, instant(random)

    def city_rows(self, random: Random) -> Iterator[Row]:
        """Yield cities."""
        for number in range(1, self.cities + 1):
            yield number, names.place(random), random.randint(1, len(names.COUNTRIES)), instant(random)

    def address_rows(self, random: Random) -> Iterator[Row]:
        """Yield addresses: of the stores, of the staff, of the customers."""
        for number in range(1, self.addresses + 1):
            yield number, *address(random, self.cities), instant(random)

    def actor_rows(self, random: Random) -> Iterator[Row]:
        """Yield actors."""
        for number in range(1, self.actors + 1):
            yield number, *names.person(random), instant(random)

    def film_rows(self, random: Random) -> Iterator[Row]:
        """Yield films."""
        for number in range(1, self.films + 1):
            yield number, *film(random), instant(random)

    def film_actors(self, random: Random) -> Iterator[Row]:
        """Yield who plays where."""
        for number in range(1, self.films + 1):
            for actor in sorted(random.sample(range(1, self.actors + 1), random.randint(2, 9))):
                yield actor, number, instant(random)

    def film_categories(self, random: Random) -> Iterator[Row]:
        """Yield which film is of which category; some are of two."""
        for number in range(1, self.films + 1):
            count = random.choice((1, 1, 1, 1, 2))
            for category in random.sample(range(1, len(names.CATEGORIES) + 1), count):
                yield number, category, instant(random)

    def stores(self, _random: Random) -> Iterator[Row]:
        """Yield stores; the first of the staff manage them."""
        for number in range(1, STORES + 1):
            yield number, number, number, OPENED

    def staff(self, random: Random) -> Iterator[Row]:
        """Yield staff, most of them with a picture."""
        for number in range(1, STAFF + 1):
            first, last = names.person(random)
            store = (number - 1) % STORES + 1
            picture = portrait(random) if number % 4 else None
            mail = names.email(first, last, number)
            person = (number, first, last, STORES + number, mail, store)
            yield *person, number != STAFF, f"staff{number}", picture, instant(random)

    def customer_rows(self, random: Random) -> Iterator[Row]:
        """Yield customers."""
        for number in range(1, self.customers + 1):
            yield number, *customer(random, number, STORES + STAFF + number), instant(random)

    def inventory(self, random: Random) -> Iterator[Row]:
        """Yield copies of films, delivered in batches that share one instant."""
        delivered = instant(random)
        for number in range(1, self.copies + 1):
            if random.random() < 0.05:
                delivered = instant(random)
            yield number, random.randint(1, self.films), random.randint(1, STORES), delivered

    def rental_rows(self, random: Random) -> Iterator[Row]:
        """Yield rentals, in the order in which they happened."""
        step = (CLOSED - OPENED - timedelta(days=15)) / self.rentals
        for number in range(1, self.rentals + 1):
            rented = OPENED + number * step + timedelta(microseconds=random.randrange(1_000_000))
            due = rented + timedelta(days=random.randint(3, 7))
            returned = rented + timedelta(minutes=random.randint(600, 14_000))
            back = None if random.random() < STILL_OUT else returned
            copy, customer_id, staff_id = (random.randint(1, count) for count in (self.copies, self.customers, STAFF))
            yield number, rented, copy, customer_id, staff_id, period(rented, due), back, back or rented

    def payments(self, random: Random) -> Iterator[Row]:
        """Yield payments of the rentals, a few of which are not paid."""
        number = 0
        for rental_id, rented, _, customer_id, staff_id, *_ in self.rental_rows(self.stream("rental")):
            if random.random() < UNPAID:
                continue
            number += 1
            assert isinstance(rented, datetime)
            paid = rented + timedelta(seconds=random.randint(30, 86_400))
            yield number, customer_id, staff_id, rental_id, price(random), paid, paid


FILM_COLUMNS = (
    "title, description, release_year, language_id, original_language_id, rental_duration, rental_rate, "
    "length, replacement_cost, rating, special_features"
)
CUSTOMER_COLUMNS = "store_id, first_name, last_name, email, address_id, active, preferences, create_date"


def instant(random: Random) -> datetime:
    """Return a moment of the business year."""
    return OPENED + timedelta(microseconds=random.randrange((CLOSED - OPENED) // timedelta(microseconds=1)))


def period(start: datetime, end: datetime) -> str:
    """Return a range that ends before `end`."""
    return f"[{start.isoformat()},{end.isoformat()})"


def price(random: Random) -> str:
    """Return an amount, exactly."""
    return f"{random.randint(0, 11)}.99"


def address(random: Random, cities: int) -> Row:
    """Return street, addition, district, city, postal code and phone."""
    addition = f"Flat {random.randint(1, 40)}" if random.random() < 0.2 else random.choice((None, None, ""))
    postal_code = f"{random.randrange(100_000):05}"
    phone = f"+{random.randint(1, 99)} {random.randrange(10**9):09}"
    return names.street(random), addition, names.place(random), random.randint(1, cities), postal_code, phone


def film(random: Random) -> Row:
    """Return the values of FILM_COLUMNS."""
    language = random.randint(1, len(names.LANGUAGES))
    original = random.randint(1, len(names.LANGUAGES)) if random.random() < 0.1 else None
    features = sorted(random.sample(names.FEATURES, random.randint(0, 4))) if random.random() < 0.95 else None
    cost = f"{random.randint(9, 29)}.99"
    rate = random.choice(("0.99", "2.99", "4.99"))
    year, days = random.randint(1931, 2025), random.randint(3, 7)
    length, rating = random.choice((None, *range(46, 186))), random.choice(RATINGS)
    title, plot = names.title(random), names.plot(random)
    return title, plot, year, language, original, days, rate, length, cost, rating, features


def customer(random: Random, number: int, address_id: int) -> Row:
    """Return the values of CUSTOMER_COLUMNS."""
    first, last = names.person(random)
    joined = instant(random).date()
    mail = names.email(first, last, number) if random.random() < 0.97 else None
    store, active = random.randint(1, STORES), random.random() < 0.97
    return store, first, last, mail, address_id, active, preferences(random), joined


def preferences(random: Random) -> str:
    """Return what a customer likes, as JSON text."""
    wishes: dict[str, object] = {
        "newsletter": random.random() < 0.4,
        "categories": sorted(random.sample(names.CATEGORIES, random.randint(0, 3))),
        "max_price": random.choice((None, 2.99, 4.5)),
    }
    return json.dumps(wishes, ensure_ascii=False)


def portrait(random: Random) -> bytes:
    """Return a small PNG of coloured squares."""
    side = 16
    lines = b"".join(b"\0" + random.randbytes(3 * side) for _ in range(side))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
