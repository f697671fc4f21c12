"""What the benchmarks share: one PostgreSQL server with the table, folders, and processes that measure themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from benchmarks.measuring import ROUNDS, Contestant, Measured, Role, Run, take_turns
from benchmarks.report import progress
from demo.film_rental.events import create_events
from servers.postgres import PostgresServer

FOLDER: Final = Path(__file__).parents[1] / ".bench"
SETTINGS: Final[dict[str, str | int]] = {"shared_buffers": "256MB", "max_wal_size": "4GB", "max_connections": 40}
SOURCE: Final = "events_source"
COLUMNS: Final = "id, customer_id, description, status, amount, created_at, day, active, score, properties"


class Bench:
    """Lends servers and folders to the benchmarks, and takes them away at the end.

    :param rows: size of the table.
    :param large: also do what needs a table ten times as large.
    :param peers: whether the peers take part; they are slow.
    """

    def __init__(self, rows: int, rounds: int = ROUNDS, *, large: bool = False, peers: bool = True) -> None:
        """Describe a bench; servers start when they are needed."""
        self.rows, self.rounds, self.large, self.peers = rows, rounds, large, peers
        FOLDER.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="work-", dir=FOLDER))  # two benchmarks at once do no harm
        self._stack = ExitStack()
        self._numbers = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the servers and remove what they wrote."""
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def take_turns(
        self, contestants: Sequence[Contestant], at_least: int = 0, at_most: int = 1_000
    ) -> dict[str, Measured]:
        """Let the contestants take turns for as many rounds as the user asked for, within bounds."""
        invited = [one for one in contestants if self.peers or one.role is not Role.PEER]
        return take_turns(invited, min(max(self.rounds, at_least), at_most))

    # --- servers ---

    @cached_property
    def server(self) -> PostgresServer:
        """A PostgreSQL server whose database ``events_source`` holds the table ``public.events``."""
        server = self._stack.enter_context(PostgresServer(SETTINGS))
        self.fill(server, SOURCE, self.rows)
        return server

    def fill(self, server: PostgresServer, database: str, rows: int) -> None:
        """Create a database with the table in it."""
        started = time.perf_counter()
        server.create_database(database)
        with closing(server.connect(database)) as connection:
            create_events(connection, rows)
            with connection.cursor() as cursor:
                cursor.execute("CHECKPOINT")
        progress(f"public.events with {rows:,} rows made in {time.perf_counter() - started:.0f} s")

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Lend a database that is a copy of another one, with everything written out before it is used."""
        name = f"target_{self._number()}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            self._execute("CHECKPOINT")
            yield name
        finally:
            self.server.drop_database(name)

    def _execute(self, statement: str) -> None:
        with closing(self.server.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def uri(self, database: str) -> str:
        """The address of a database as other people's programs want it."""
        return self.server.airflow_uri(database).replace("postgres://", "postgresql://", 1)

    def new_folder(self, name: str) -> Path:
        """Return an empty folder."""
        folder = self.folder / f"{name}-{self._number()}"
        folder.mkdir()
        return folder

    # --- our processes ---

    def run(self, program: str, *words: str | Path, env: Mapping[str, str] | None = None) -> Run:
        """Run a module of ``benchmarks.programs`` in a fresh process."""
        return run_program([sys.executable, "-m", f"benchmarks.programs.{program}", *map(str, words)], env)

    def sync(self, connections: Mapping[str, str], *words: str, table: str = "public.events") -> Run:
        """Run ``elt sync`` from connection ``source`` to connection ``target`` with a stage of its own."""
        stage = self.new_folder("stage")
        try:
            return self.run(
                "elt_process", "sync", "--source-conn-id", "source", "--source-table", table,
                "--destination-conn-id", "target", "--stage", f"file://{stage}", *words,
                env={f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()},
            )  # fmt: skip
        finally:
            shutil.rmtree(stage)


def run_program(command: list[str], env: Mapping[str, str] | None = None) -> Run:
    """Run a program whose last line is a JSON object with ``seconds`` and ``peak_mib``."""
    done = subprocess.run(
        command, env={**os.environ, **(env or {})}, cwd=FOLDER.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ... failed with {done.returncode}:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Run(found.pop("seconds"), found.pop("peak_mib"), found)
