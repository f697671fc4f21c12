"""An emulator of Hologres: a real PostgreSQL behind a proxy that refuses what Hologres lacks.

>>> with PostgresServer() as postgres, HologresServer(postgres, version="2.2.14") as server:
...     with server.database() as dbname:
...         connection = server.connect(dbname)     # psycopg2, through the proxy
...         server.properties(dbname)               # what set_table_property was called with

What is refused, and whether the documentation says so, stands in `hologres_sql.py` (statements) and
`hologres_proxy.py` (transactions).  What remains PostgreSQL's own: types of expressions, functions, plans, speed,
messages; nothing is distributed, and a property has no effect.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Self

import psycopg2

from servers.hologres_proxy import HologresProxy
from servers.processes import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

    from servers.postgres import PostgresServer

PROPERTIES = (
    "orientation", "distribution_key", "clustering_key", "event_time_column", "segment_key", "bitmap_columns",
    "dictionary_encoding_columns", "time_to_live_in_seconds", "table_group", "storage_mode",
    "binlog.level", "binlog.ttl",
)  # fmt: skip
AT_CREATION = ("orientation", "distribution_key", "clustering_key", "event_time_column", "segment_key", "table_group")
"""[doc] Only in the transaction that creates the table."""
_TEMPLATE = f"""
CREATE SCHEMA hologres;
CREATE TABLE hologres.kept (oid oid, property_key text, property_value text, PRIMARY KEY (oid, property_key));
CREATE VIEW hologres.hg_table_properties AS
SELECT n.nspname::text AS table_namespace, c.relname::text AS table_name, k.property_key, k.property_value
FROM hologres.kept k JOIN pg_class c ON c.oid = k.oid JOIN pg_namespace n ON n.oid = c.relnamespace;
CREATE PROCEDURE public.set_table_property(name text, property text, value text) LANGUAGE plpgsql AS $$
DECLARE
    target oid := name::regclass;
    word text;
BEGIN
    IF NOT property = ANY ('{{{",".join(PROPERTIES)}}}'::text[]) THEN
        RAISE EXCEPTION 'unknown table property %', property USING ERRCODE = '22023';
    END IF;
    IF property = ANY ('{{{",".join(AT_CREATION)}}}'::text[]) AND
       (SELECT xmin::text::bigint FROM pg_class WHERE pg_class.oid = target) <> txid_current() % 4294967296 THEN
        RAISE EXCEPTION 'set_table_property % must be called in the transaction of CREATE TABLE', property
        USING ERRCODE = '0A000';
    END IF;
    IF property = 'orientation' AND NOT value = ANY ('{{column,row,"row,column"}}'::text[]) THEN
        RAISE EXCEPTION 'invalid orientation %', value USING ERRCODE = '22023';
    END IF;
    IF property LIKE '%\\_key' OR property LIKE '%\\_column%' THEN
        FOREACH word IN ARRAY string_to_array(value, ',') LOOP
            word := regexp_replace(word, ':(asc|desc|on|off|auto)$', '');
            IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attnum > 0
                AND attname = (parse_ident(word))[1]
                AND (attnotnull OR property NOT IN ('clustering_key', 'event_time_column', 'segment_key'))) THEN
                RAISE EXCEPTION 'column % of % is missing, or may be NULL', word, property USING ERRCODE = '42703';
            END IF;
        END LOOP;
    END IF;
    INSERT INTO hologres.kept VALUES (target, property, value)
    ON CONFLICT (oid, property_key) DO UPDATE SET property_value = excluded.property_value;
END $$;
"""


class HologresServer:
    """A Hologres instance on a free loopback port, before a PostgreSQL server that runs."""

    def __init__(self, postgres: PostgresServer, version: str = "2.2.14") -> None:
        """Describe it; `version` decides what it can do: DML transactions since 2.0, ALTER COLUMN TYPE since 3.0."""
        self.postgres = postgres
        self.proxy = HologresProxy(postgres.port, version)
        self._template = f"hologres_{secrets.token_hex(6)}"

    def __enter__(self) -> Self:
        """Open the port."""
        self.proxy.start()
        self.postgres.create_database(self._template)
        connection = self.postgres.connect(self._template)
        with connection, connection.cursor() as cursor:
            cursor.execute(_TEMPLATE)
        connection.close()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the port; the databases go with their server."""
        self.proxy.close()

    @property
    def host(self) -> str:
        """The address it listens on."""
        return LOOPBACK

    @property
    def port(self) -> int:
        """Its port."""
        return self.proxy.port

    @property
    def user(self) -> str:
        """Whom it lets in."""
        return self.postgres.user

    @property
    def password(self) -> str:
        """With which password."""
        return self.postgres.password

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Lend a database of one's own: its name, until the end of the block."""
        with self.postgres.database(template=self._template) as name:
            yield name

    def connect(self, dbname: str, **options: str | int | Path) -> Connection:
        """Open a connection through the proxy, as any client would."""
        return psycopg2.connect(self.postgres.dsn(dbname, **{"port": self.port, **options}))

    def properties(self, dbname: str) -> dict[tuple[str, str], dict[str, str]]:
        """Return each table's properties by schema and table."""
        connection = self.postgres.connect(dbname)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM hologres.hg_table_properties ORDER BY 1, 2, 3")
                found: dict[tuple[str, str], dict[str, str]] = {}
                for schema, table, key, value in cursor.fetchall():
                    found.setdefault((schema, table), {})[key] = value
        finally:
            connection.close()
        return found
