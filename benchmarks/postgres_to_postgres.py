"""The whole journey from one PostgreSQL database to another, with full replace."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from benchmarks import dlt_peer
from benchmarks.bench import SOURCE, Bench
from benchmarks.copying import copy_pipe
from benchmarks.journeys import postgres_connection, refuse_difference
from benchmarks.measuring import Contestant, Measured, Role, Run
from benchmarks.report import Report, Target
from demo.film_rental.events import TABLE

LIMIT: Final = "psql COPY | psql COPY, logged"
NEW: Final = "elt sync, no table yet"
SAME: Final = "elt sync, same rows there"
CHANGED: Final = "elt sync, every row changed"
SHARE: Final = 0.5
PARALLEL: Final = ("--parallelism", "2")


def run(bench: Bench) -> Report:
    """Measure."""
    with _templates(bench) as (same, changed):
        measured = bench.take_turns(
            [
                Contestant(NEW, Role.OURS, lambda: sync(bench, "template1")),
                Contestant(f"{NEW}, parallelism=2", Role.OURS, lambda: sync(bench, "template1", *PARALLEL)),
                Contestant(SAME, Role.OURS, lambda: sync(bench, same)),
                Contestant(CHANGED, Role.OURS, lambda: sync(bench, changed)),
                Contestant(LIMIT, Role.LIMIT, lambda: _pipe(bench, "")),
                Contestant("psql COPY | psql COPY, unlogged", Role.LIMIT, lambda: _pipe(bench, "UNLOGGED")),
                *(
                    Contestant(
                        f"dlt {dlt_peer.version()}, {backend}", Role.PEER, lambda b=backend: _dlt(bench, b), rounds
                    )
                    for backend, rounds in (("connectorx", bench.rounds), ("pyarrow", 1))
                ),
            ]
        )
    return Report(
        "postgres_to_postgres", "PostgreSQL to PostgreSQL, the whole journey with full replace", measured, bench.rows,
        LIMIT, _targets(measured), dlt_peer.notes(bench), ["extract", "stage", "merge"],
    )  # fmt: skip


def sync(bench: Bench, template: str, *words: str) -> Run:
    """Replace the table in a copy of a database, and see that it is the source's."""
    with bench.database(template) as target:
        run = _sync(bench, target, *words)
        with closing(bench.server.connect(target)) as connection, connection.cursor() as cursor:
            refuse_difference(bench, cursor, "public.events")
        return run


def _sync(bench: Bench, target: str, *words: str) -> Run:
    connections = {"source": bench.server.airflow_uri(SOURCE), "target": postgres_connection(bench, target)}
    return bench.sync(connections, "--target-table", "public.events", "--mode", "replace", *words)


@contextmanager
def _templates(bench: Bench) -> Iterator[tuple[str, str]]:
    """Lend two databases: with the table as it is, and with every row of it changed."""
    with bench.database() as same:
        _sync(bench, same)
        with bench.database(same) as changed:
            with closing(bench.server.connect(changed)) as connection:
                with connection, connection.cursor() as cursor:
                    cursor.execute("UPDATE public.events SET customer_id = customer_id + 1")
                connection.autocommit = True
                connection.cursor().execute("VACUUM FULL public.events")
            yield same, changed


def _pipe(bench: Bench, persistence: str) -> Run:
    with bench.database() as target:
        with closing(bench.server.connect(target)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(TABLE.replace("CREATE TABLE", f"CREATE {persistence} TABLE"))
            cursor.execute("ALTER TABLE events ADD PRIMARY KEY (id)")
        return copy_pipe(bench, target, "public.events")


def _dlt(bench: Bench, backend: str) -> Run:
    folder = bench.new_folder("dlt")
    try:
        with bench.database() as target:
            return dlt_peer.dlt(bench, "postgres", bench.uri(target), folder, backend)
    finally:
        shutil.rmtree(folder)


def _targets(measured: dict[str, Measured]) -> list[Target]:
    limit, found = measured[LIMIT], []
    for name in (NEW, SAME, CHANGED):
        ratio = measured[name].times_as_fast_as(limit) or 0
        found.append(Target(f"{name}: at least {SHARE} of {LIMIT}", f"{ratio:.3f}", ratio >= SHARE))
    return found
