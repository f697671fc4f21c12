"""The life of a source table under a capture that finds changes, and what must be true at its end."""

from __future__ import annotations

import itertools
import random
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg2
from hypothesis import strategies as st

from airflow_elt_provider.errors import TransientError
from tests.contract.faults import PowerCutError

if TYPE_CHECKING:
    from tests.contract.world import World

LARGE = 3000
"""Characters of a value that PostgreSQL keeps out of line, so that its log does not repeat it."""
PATIENCE = 1.0
"""Seconds that a sync waits for an open transaction, where it has to."""
_numbers = itertools.count()
_seeds = st.integers(0, 10_000)

events = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(1, 4)),
        st.tuples(st.just("update"), _seeds),
        st.tuples(st.just("delete"), _seeds),
        st.tuples(st.just("change key"), _seeds),
        st.tuples(st.just("come back"), _seeds),
        st.tuples(st.just("truncate"), st.just(0)),
        st.tuples(st.just("add column"), st.sampled_from(["int DEFAULT 7", "text", "numeric(8,3) DEFAULT 1.5"])),
        st.tuples(st.just("rewrite"), _seeds),
        st.tuples(st.just("vacuum"), st.sampled_from(["FULL", "FREEZE"])),
        st.tuples(st.just("begin"), _seeds),
        st.tuples(st.just("end"), st.just(0)),
        st.tuples(st.just("storm"), _seeds),
        st.tuples(st.just("sync"), st.just(0)),
        st.tuples(st.just("cut"), st.integers(1, 60)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("refresh"), st.just(0)),
    ),
    min_size=5,
    max_size=16,
)


@dataclass
class Life:
    """Plays events against one table.

    :param parameters: of the sync.
    :param key: the key's column declaration; its values are numbers in any case.
    """

    world: World
    parameters: dict[str, Any]
    key: str = "bigint"
    columns: list[str] = field(default_factory=lambda: ["id", "name", "amount", "body"])
    run: int = 0
    generation: int = 0
    story: list[str] = field(default_factory=list)
    open: Any = None

    def __post_init__(self) -> None:
        number = next(_numbers)
        self.table, self.world.target = f"life{number}", f"raw.life{number}"
        self.world.table = f"public.{self.table}"
        self.world.lock_timeout = PATIENCE
        self._run(
            f"CREATE SEQUENCE keys{number} START 7",
            f"CREATE TABLE {self.table} (id {self.key} PRIMARY KEY DEFAULT nextval('keys{number}')::text::{self.key}, "
            "name text, amount numeric(12,2), body text)",
            f"ALTER TABLE {self.table} ALTER body SET STORAGE EXTERNAL",
        )

    def _run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with closing(self.world.server.connect(self.world.dbname)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for sql in statements:
                    cursor.execute(sql)

    def play(self, what: str, argument: Any) -> None:
        """Let one event happen."""
        self.story.append(f"{what} {argument}")
        getattr(self, what.replace(" ", "_"))(argument)

    # --- what happens to the rows ---

    def insert(self, count: int) -> None:
        self._run(self._inserting(count))

    def _inserting(self, count: int) -> str:
        body = f"CASE WHEN g % 2 = 0 THEN repeat(md5(g::text), {LARGE // 32}) END"
        return (
            f"INSERT INTO {self.table} (name, amount, body) SELECT 'n' || g, g / 7.0, {body} "
            f"FROM generate_series(1, {count}) g"
        )

    def update(self, seed: int) -> None:
        self._run(self._updating(seed))

    def _updating(self, seed: int) -> str:
        return f"UPDATE {self.table} SET name = 'u{seed}', amount = {seed} / 7.0 WHERE id IN ({self._some(seed)})"

    def delete(self, seed: int) -> None:
        self._run(f"DELETE FROM {self.table} WHERE id IN ({self._some(seed)})")

    def change_key(self, seed: int) -> None:
        moved = f"(id::text::bigint + 1000)::text::{self.key}"
        self._run(f"UPDATE {self.table} SET id = {moved} WHERE id IN ({self._some(seed, 1)})")

    def come_back(self, seed: int) -> None:
        """Delete a row and insert it again with another value, in one transaction."""
        self._run(
            f"BEGIN; CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM {self.table} WHERE id IN "
            f"({self._some(seed, 1)}); DELETE FROM {self.table} WHERE id IN (SELECT id FROM kept); "
            f"UPDATE kept SET name = 'back {seed}'; INSERT INTO {self.table} SELECT * FROM kept; COMMIT"
        )

    def truncate(self, _: Any) -> None:
        self.end()
        self._run(f"TRUNCATE {self.table}")

    def _some(self, seed: int, count: int = 2) -> str:
        """Return a query for some keys that no open transaction has changed."""
        order = f"md5(id::text || '{seed}')"
        return f"SELECT id FROM {self.table} ORDER BY {order} LIMIT {count} FOR UPDATE SKIP LOCKED"

    # --- what happens to the table ---

    def add_column(self, type_: str) -> None:
        self.end()
        name = f"extra{len(self.columns)}"
        self._run(f"ALTER TABLE {self.table} ADD COLUMN {name} {type_}")
        self.columns.append(name)

    def rewrite(self, seed: int) -> None:
        """Change every row without any change of a row: the log says nothing of it."""
        self.end()
        self._run(f"ALTER TABLE {self.table} ALTER name TYPE text USING name || '{seed % 10}'")

    def vacuum(self, how: str) -> None:
        self.end()
        self._run(f"VACUUM ({how}) {self.table}")

    # --- transactions that are open while others commit ---

    def begin(self, seed: int) -> None:
        """Begin a transaction that writes now and commits later, often after a sync."""
        self.end()
        self.open = self.world.server.connect(self.world.dbname)
        with self.open.cursor() as cursor:
            cursor.execute(self._inserting(1))
            cursor.execute(self._updating(seed))

    def end(self, _: Any = None) -> None:
        if self.open:
            self.open.commit()
            self.open.close()
            self.open = None

    def close(self) -> None:
        """Leave no transaction open, and no slot."""
        if self.open:
            self.open.close()
        self._run(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE database = current_database() AND NOT active"
        )

    def storm(self, seed: int) -> None:
        """Sync while somebody else writes."""
        writer = threading.Thread(target=self._write_on, args=(seed,))
        writer.start()
        try:
            self.sync()
        finally:
            writer.join()

    def _write_on(self, seed: int) -> None:
        chance = random.Random(seed)
        for number in range(15):
            work = chance.choice([self._inserting(1), self._updating(seed + number), None])
            with suppress(psycopg2.errors.UniqueViolation):
                self._run(work) if work else self.delete(seed + number)

    # --- syncs ---

    def sync(self, _: Any = None, **more: Any) -> None:
        self.run, self.generation = self.run + 1, 0
        self._sync(**more)

    def _sync(self, **more: Any) -> None:
        """Sync; a slot cannot be made while a transaction that writes is open, so the user ends it and tries again."""
        try:
            self._attempt(**more)
        except TransientError as error:
            if not self.open or f"process {self.open.info.backend_pid} " not in str(error):
                raise
            self.end()
            self._attempt(**more)

    def _attempt(self, **more: Any) -> None:
        self.world.sync(
            run_id=f"run {self.run}", generation=self.generation, allow_empty=True, max_delete_ratio=1.0,
            **{**self.parameters, **more},
        )  # fmt: skip

    def cut(self, moment: int) -> None:
        """The power goes during a sync; Airflow retries it."""
        self.run, self.generation = self.run + 1, 0
        with self.world.blowing_at(moment):
            try:
                self._sync()
            except PowerCutError:
                pass
            else:
                return
        self._sync()

    def clear(self, _: Any) -> None:
        """A user clears the last run."""
        if self.run:
            self.generation += 1
            self._sync()

    def refresh(self, _: Any) -> None:
        self.sync(full_refresh=True)

    # --- the end ---

    def check(self) -> None:
        """Compare, after one more sync that nothing disturbs."""
        self.end()
        self.sync()
        names, deletes = ", ".join(self.columns), self.parameters.get("deletes", "ignore")
        if self.parameters["mode"] == "history":
            where = "_elt_is_current"
            self._check_versions()
        else:
            where = "_elt_deleted_at IS NULL" if deletes == "soft" else "true"
        found, wanted = self.world.target_rows(names, where), self.world.source_rows(names)
        if deletes == "ignore":
            keys = {row[0] for row in wanted}
            found = [row for row in found if row[0] in keys]
        odd = sorted(set(found) ^ set(wanted), key=str)
        assert found == wanted, "\n".join([*self.story, *(str(row)[:200] for row in odd)])

    def _check_versions(self) -> None:
        """No two versions of a key at one time, none that ends before it begins, one current at most."""
        times: dict[str | None, list[tuple[Any, ...]]] = {}
        for key, start, end, current in self.world.target_rows("id, _elt_valid_from, _elt_valid_to, _elt_is_current"):
            times.setdefault(key, []).append((start, end, current))
        for key, versions in times.items():
            versions.sort()
            for (start, end, _), (following, _, _) in itertools.pairwise(versions):
                assert end is not None, (key, versions, self.story)
                assert start < end <= following, (key, versions, self.story)
            assert versions[-1][1] is None or versions[-1][0] < versions[-1][1], (key, versions, self.story)
