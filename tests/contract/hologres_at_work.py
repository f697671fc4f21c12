"""Hologres at work: the emulator of `servers/hologres.py`, PostgreSQL behind a proxy that refuses what Hologres lacks.

Two of them. `hologres` plays version 2.2, whose DML transactions merges run in. `hologres-guarded` plays version 1.3,
which has none: merges are statements that may be repeated there, `append`, `replace` and hard deletes are refused, and
the exceptions below say which tests of the contract that takes away.

The tests look inside through the same proxy, and so with Hologres' own eyes; only to wipe everything they go behind it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from airflow_elt_provider.connectors.hologres.settings import HologresSettings
from airflow_elt_provider.connectors.postgres.names import literal
from airflow_elt_provider.core.secret import Secret
from servers.hologres import HologresServer
from servers.postgres import PostgresServer
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, Shown, local_stage, made_by
from tests.contract.postgres_at_work import ServerElsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in all but its name

    from airflow_elt_provider.core.protocols import Destination, Stage

TYPES = {
    "c_numeric_nan": Shown("numeric(10,2)", (None, "1.50")),
    "c_numeric_wide": Shown("text"),
    "c_numeric": Shown("text"),
    "c_varchar": Shown("text"),
    "c_char": Shown("text", ("ab  ", "abcd")),
    "c_date": Shown("date", ("2024-02-29", None)),
    "c_date_bc": Shown("date", ("0044-03-15 BC", None)),
    "c_timestamp": Shown("timestamp without time zone", ("2024-01-01 00:00:00.000001", None)),
    # Moments in time become timestamp in UTC: timestamptz would keep milliseconds only.
    "c_timestamptz": Shown("timestamp without time zone", ("2024-06-01 03:00:00.123456", None)),
    "c_timestamptz_far": Shown("timestamp without time zone", ("12024-06-01 12:00:00", "0044-03-15 10:00:00 BC")),
    "c_json": Shown("json"),
    "c_jsonb": Shown("jsonb"),
    "c_uuid": Shown("uuid"),
    "c_interval": Shown("interval"),
    "c_int_array": Shown("text"),
    "c_money": Shown("text", ("1234.56", "-0.01")),
    "c_inet": Shown("inet"),
    "c_cidr": Shown("text"),
    "c_bit": Shown("bit(3)"),
}
NULLED = {"c_numeric_nan": 1, "c_date": 1, "c_date_bc": 1, "c_timestamp": 1, "c_timestamptz": 1}
CANNOT_ALTER = "Hologres cannot give a number or a varchar another type: refused, see test_hologres_schema.py"
EXCEPTIONS = {
    "test_widened_and_conflicting_types*": CANNOT_ALTER,
    "test_columns_that_change_behind_their_name*": CANNOT_ALTER,
}
UNSAFE = "append, replace and hard deletes are refused without transactions, see test_hologres_guarded.py"
GUARDED = {
    **EXCEPTIONS,
    "test_arrives_and_stays_exact*-append?": UNSAFE,
    "test_replace_leaves_bad_rows_out*": UNSAFE,
    "test_versions_stay_current*": UNSAFE,
    "test_arrives_and_stays_exact*-replace?": UNSAFE,
    "test_arrives_and_stays_exact*-mirror?": UNSAFE,
    "test_every_step_twice_has_one_effect*-append?": UNSAFE,
    "test_every_step_twice_has_one_effect*-replace?": UNSAFE,
    "test_backfills_and_the_daily_run_at_once*-append?": UNSAFE,
    "test_backfills_and_the_daily_run_at_once*-replace?": UNSAFE,
    "test_mirror_deletes_what_is_gone*": UNSAFE,
    "test_history*": UNSAFE,
    "test_no_cut_breaks_a_history*": UNSAFE,
    "test_replace_follows_the_source_whole*": UNSAFE,
    "test_replace_of_a_table_without_key*": UNSAFE,
    "test_append_reads_each_row_once*": UNSAFE,
    "test_without_a_key_rows_are_compared*": UNSAFE,
    "test_a_finished_run_reads_nothing_again*": UNSAFE,
    "test_a_zombie_twin_merges_nothing*": UNSAFE,
    "test_two_copies_of_one_task_at_once*": UNSAFE,
    "test_append_and_merge_do_not_share_a_stream*": UNSAFE,
    "test_sync_that_was_overtaken_extracts_again*": UNSAFE,
    "test_a_cleared_append_run_*": UNSAFE,
    "test_full_refresh_reads_everything_once*": UNSAFE,
    "test_an_empty_source_*": UNSAFE,
    "test_a_mass_delete_is_refused*": UNSAFE,
    "test_columns_named_like_aliases*": UNSAFE,
    "test_intervals_of_numbers_are_no_intervals_of_text*": UNSAFE,
    "test_large_counters_are_not_rounded*": UNSAFE,
    "test_a_cursor_in_local_time_behind_utc*": UNSAFE,
    "test_no_cut_loses_or_repeats_a_row*-append-*": UNSAFE,
    "test_no_cut_loses_or_repeats_a_row*-replace-*": UNSAFE,
    "test_no_cut_loses_or_repeats_a_row*-mirror-*": UNSAFE,
    "test_a_killed_process_loses_and_repeats_nothing*": UNSAFE,
    "test_source_and_target_agree_*-append by*": UNSAFE,
    "test_source_and_target_agree_*-replace?": UNSAFE,
    "test_source_and_target_agree_*-mirror?": UNSAFE,
    "test_named_keys_go_and_come_back*-hard*": UNSAFE,
    "test_nothing_but_deletes*-hard*": UNSAFE,
    "test_deletes_of_a_composite_key*-hard*": UNSAFE,
    "test_buckets_*-hard*": UNSAFE,
    "test_one_bucket_of_all_keys*-hard*": UNSAFE,
    "test_keysets_and_named_keys*-hard*": UNSAFE,
    "test_unchanged_columns_stay*-hard*": UNSAFE,
    "test_guards_stop_before*-hard*": UNSAFE,
    "test_no_cut_of_a_load_of_changes*-hard*": UNSAFE,
}
"""The reduced contract of guarded merges: what is left are merges by key, with soft deletes or none."""


@dataclass
class HologresAtWork:
    """A database of the emulator."""

    server: HologresServer
    dbname: str
    kind: str = "hologres"
    keeps_numeric: bool = False
    nulled: Mapping[str, int] = field(default_factory=lambda: NULLED)
    types: Mapping[str, Shown] = field(default_factory=lambda: TYPES)

    @classmethod
    def reopen(cls, port: int, direct_port: int, user: str, password: str, dbname: str) -> Self:
        return cls(_ProxyElsewhere(port, direct_port, user, password), dbname)

    def recipe(self) -> dict[str, Any]:
        server = self.server
        return made_by(
            self, port=server.port, direct_port=server.postgres.port, user=server.user, password=server.password,
            dbname=self.dbname,
        )  # fmt: skip

    def stage(self, folder: Path) -> Stage:
        return local_stage(folder)

    def name(self, target: str) -> str:
        return target

    def text(self, expression: str) -> str:
        return f"CAST({expression} AS text)"

    def open(self, observe: Callable[[str], None]) -> Destination:
        from airflow_elt_provider.connectors.hologres.destination import HologresDestination

        settings = HologresSettings(
            host=self.server.host, port=self.server.port, dbname=self.dbname, user=self.server.user,
            password=Secret(self.server.password),
        )  # fmt: skip
        return HologresDestination(settings, observe=observe)

    def _connect(self) -> Connection:
        connection = self.server.connect(self.dbname, options="-c TimeZone=UTC")
        connection.autocommit = True
        return connection

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()

    def run(self, sql: str) -> None:
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            connection.close()

    def version_of(self, target: str) -> object:
        return self.query(f"SELECT count(*), max(xmin::text::bigint), max(ctid::text) FROM {target}")

    def columns(self, target: str) -> dict[str, str]:
        return dict(
            self.query(
                "SELECT attname, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
                f"WHERE attrelid = to_regclass({literal(target)}) AND attnum > 0 AND NOT attisdropped"
            )
        )

    def staging_tables(self) -> list[str]:
        ours = "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        return [
            row[0]
            for row in self.query(f"{ours} WHERE n.nspname = '_elt' AND c.relkind = 'r' AND c.relname ~ '^[0-9]{{8}}T'")
        ]

    def wipe(self, target: str) -> None:
        connection = self.server.postgres.connect(self.dbname)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {target}; DROP SCHEMA IF EXISTS _elt CASCADE")
        connection.close()


class _ProxyElsewhere(HologresServer):
    """An emulator that another process runs."""

    def __init__(self, port: int, direct_port: int, user: str, password: str) -> None:
        """Point to it."""
        self.postgres = ServerElsewhere(direct_port, user, password)
        self._there = port

    @property
    def port(self) -> int:
        """Its port."""
        return self._there


@dataclass(frozen=True)
class Instance:
    """What starts an emulator of a version before a server that runs."""

    postgres: PostgresServer
    version: str

    def __call__(self) -> HologresServer:
        """Describe it."""
        return HologresServer(self.postgres, self.version)


@contextmanager
def _lent(server: HologresServer) -> Iterator[DestinationAtWork]:
    with server.database() as dbname:
        work = HologresAtWork(server, dbname)
        work.run("CREATE SCHEMA raw")
        yield work


@contextmanager
def hologres(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend one with transactions."""
    del folder
    server = servers.of(Instance(servers.of(PostgresServer), "2.2.14"))
    with _lent(server) as work:
        yield work
    assert server.proxy.leaked == [], "a statement was cancelled within a transaction"


@contextmanager
def guarded(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend one without."""
    del folder
    with _lent(servers.of(Instance(servers.of(PostgresServer), "1.3.44"))) as work:
        yield work


CANDIDATES = {
    "hologres": DestinationCandidate(hologres, stride=12, histories=0.15, exceptions=EXCEPTIONS),
    "hologres-guarded": DestinationCandidate(guarded, stride=8, histories=0.15, exceptions=GUARDED),
}
