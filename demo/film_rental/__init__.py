"""A film rental business in PostgreSQL, generated: fifteen tables, about 50,000 rows.

create(connection)            the database, the same for the same seed
change(connection, seed)      a day of business, and how many rows it inserted and updated
add_column(connection)        a column with a default
create_events, add_events     one large table, for benchmarks
"""

from __future__ import annotations

from demo.film_rental.changing import Change, add_column, change
from demo.film_rental.events import add_events, create_events
from demo.film_rental.loading import create

__all__ = ["Change", "add_column", "add_events", "change", "create", "create_events"]
