"""Loads that die, sleep, return late or are sent twice: what holds where every statement commits by itself."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination
from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import StaleLoadError, TransientError
from tests.connectors.merge_stories import ONE, THREE, TWO
from tests.connectors.staged_loads import Loads, bring_in, staged

COMMIT = "COMMIT"
WRITE = ("MERGE INTO `main`.`raw`", "INSERT INTO `main`.`raw`", "INSERT OVERWRITE `main`.`raw`")


class KilledError(BaseException):
    """The process is gone."""


@pytest.fixture
def loads(tmp_path):
    return Loads(tmp_path, "raw.item")


@pytest.fixture
def killed(work, loads):
    """Bring a load in, and die before the first statement that begins so."""

    def run(load, *beginnings):
        def die(sql):
            if sql.startswith(beginnings):
                raise KilledError

        attempt = staged(work.open(lambda _: None), load, loads.stage)
        destination = work.open(die)
        changes = destination.prepare(attempt)
        with pytest.raises(KilledError):
            destination.commit(attempt, loads.stage, changes)
        return attempt

    return run


@pytest.fixture
def impatient(settings, work):
    """A destination for which every claim is that of a dead load."""
    given = {**settings, "token": Secret(settings["token"]), "claim_seconds": -1.0}
    destination = DatabricksDestination(DatabricksSettings(**given))
    yield destination
    destination.close()


def rows(query, columns="id, name, amount"):
    return query(f"SELECT {columns} FROM raw.item ORDER BY 1, 2")


# --- the same load again ---


@pytest.mark.parametrize("mode", ["merge", "append", "replace"])
@pytest.mark.parametrize("before", [WRITE, (COMMIT,)], ids=["before its rows", "after its rows"])
def test_a_load_that_died_is_taken_up_again(destination, loads, query, killed, mode, before):
    """With the same counts as if nothing had happened."""
    loads.merge(destination, ONE, mode=mode)
    load = loads.make((1, "A", None), TWO, mode=mode)
    killed(load, *before)
    receipt = bring_in(destination, load, loads.stage)
    expected = {"merge": (1, 1), "append": (2, 0), "replace": (1, 1)}[mode]
    assert (receipt.inserted, receipt.updated, receipt.version) == (*expected, 2)
    assert rows(query, "id, name") == [(1, "A"), *([(1, "a")] if mode == "append" else []), (2, "b")]


def test_a_receipt_that_did_not_come_to_the_others(destination, loads, query, killed):
    loads.merge(destination, ONE)
    load = loads.make(TWO)
    attempt = killed(load, "INSERT INTO `main`.`_elt`.`receipts`")
    known = destination.receipt(load.load_id)
    assert (known.inserted, known.version) == (1, 2)
    assert destination.receipts("stream")[-1] == known
    assert query("SELECT count(*) FROM _elt.receipts") == [(1,)]
    assert destination.commit(attempt, loads.stage, ()) == known
    loads.version = 2
    loads.merge(destination, THREE)
    assert [each.load_id for each in destination.receipts("stream")][1] == load.load_id
    assert query("SELECT count(DISTINCT load_id) FROM _elt.receipts") == [(3,)]


# --- another load after one that died ---


def test_rows_appended_by_a_dead_load_are_its_own(destination, loads, query, killed, impatient):
    """The next load finishes it and is stale: its rows begin where the dead load's ended."""
    loads.mode = "append"
    loads.merge(destination, ONE)
    dead = loads.make(TWO)
    killed(dead, COMMIT)
    late = loads.make(TWO, THREE)
    with pytest.raises(StaleLoadError):
        bring_in(impatient, late, loads.stage)
    assert destination.receipt(dead.load_id).inserted == 1
    assert destination.checkpoint("stream").load_id == dead.load_id
    loads.version = 2
    loads.merge(destination, THREE)
    assert rows(query, "id, name") == [(1, "a"), (2, "b"), (3, None)]


def test_a_dead_load_that_appended_nothing_is_forgotten(destination, loads, query, killed, impatient):
    loads.mode = "append"
    loads.merge(destination, ONE)
    dead = killed(loads.make(TWO), *WRITE)
    assert bring_in(impatient, loads.make(TWO, THREE), loads.stage).version == 2
    assert destination.receipt(dead.load_id) is None
    with pytest.raises(StaleLoadError):
        destination.commit(dead, loads.stage, ())
    assert rows(query, "id, name") == [(1, "a"), (2, "b"), (3, None)]


def test_rows_merged_by_a_dead_load_are_written_over(destination, loads, query, killed, impatient):
    loads.merge(destination, ONE)
    killed(loads.make((1, "dead", None), TWO), COMMIT)
    receipt = bring_in(impatient, loads.make((1, "alive", None), TWO, THREE), loads.stage)
    assert (receipt.inserted, receipt.updated, receipt.version) == (1, 1, 2)
    assert rows(query, "id, name") == [(1, "alive"), (2, "b"), (3, None)]


def test_an_interval_of_a_dead_load_stays(destination, loads, query, killed, impatient):
    """Its rows bear its id, and yet must not go with it: they took the place of others."""
    loads.mode = "append"
    loads.merge(destination, ONE, TWO)
    interval = {"interval": Interval("2", "9"), "cursor": "id", "version": None}
    killed(loads.make((2, "again", None), **interval), COMMIT)
    assert bring_in(impatient, loads.make(THREE), loads.stage).version == 2
    assert rows(query, "id, name") == [(1, "a"), (2, "again"), (3, None)]


def test_a_reset_finishes_what_died(destination, loads, query, killed, impatient):
    loads.mode = "append"
    loads.merge(destination, ONE)
    dead = loads.make(TWO)
    killed(dead, COMMIT)
    assert impatient.forget("stream") is True
    assert destination.receipt(dead.load_id).inserted == 1
    assert destination.checkpoint("stream").position is None


# --- zombies ---


@pytest.mark.parametrize("mode", ["merge", "append", "replace"])
def test_a_zombie_that_wakes_before_its_rows_writes_none(work, destination, loads, query, mode):
    """It slept just before its MERGE; meanwhile the same load was retried, and another one came."""
    loads.merge(destination, ONE, mode=mode)
    load = loads.make((1, "old", None), TWO, mode=mode)
    asleep, awake = threading.Event(), threading.Event()

    def sleep(sql):
        if sql.startswith(WRITE):
            asleep.set()
            awake.wait(60)

    zombie, changes = staged(work.open(lambda _: None), load, loads.stage), ()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(work.open(sleep).commit, zombie, loads.stage, changes)
        assert asleep.wait(60)
        receipt = bring_in(destination, replace(load, nonce="00000001"), loads.stage)
        loads.version = 2
        after = (1, "new", None) if mode != "append" else THREE
        loads.merge(destination, after, mode=mode)
        expected = rows(query, "id, name")
        awake.set()
        assert late.result(120) == receipt
    assert rows(query, "id, name") == expected
    assert destination.checkpoint("stream").version == 3


def test_an_interval_that_is_merged_is_not_merged_again_after_others(destination, loads, query):
    """It leaves the checkpoint alone: a twin that comes when others were merged since knows by the receipt only."""
    loads.mode = "append"
    interval = {"interval": Interval("1", "9"), "cursor": "id", "version": None}
    load = loads.make((1, "old", None), **interval)
    twin = staged(destination, load, loads.stage)
    receipt = bring_in(destination, load, loads.stage)
    loads.merge(destination, (1, "new", None), **interval)
    assert destination.commit(twin, loads.stage, ()) == receipt
    assert rows(query, "id, name") == [(1, "new")]


def test_a_load_that_its_twin_merged_meanwhile(work, destination, loads, query):
    """Both have one staging table, which is gone once the first has done its work."""
    loads.merge(destination, ONE)
    twin = staged(destination, loads.make(TWO), loads.stage)
    found = []

    def overtaken(sql):
        if not found and sql.startswith("SELECT count(*) FROM `main`.`_elt`.`staging_"):
            found.append(None)
            found[0] = destination.commit(twin, loads.stage, ())

    assert work.open(overtaken).commit(twin, loads.stage, ()) == found[0]
    assert rows(query, "id, name") == [(1, "a"), (2, "b")]


def test_a_live_load_is_waited_for(work, destination, loads, query):
    loads.merge(destination, ONE)
    first, second = loads.make(TWO), loads.make(THREE)
    claimed, go_on = threading.Event(), threading.Event()

    def slow(sql):
        if sql.startswith(WRITE):
            claimed.set()
            go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(bring_in, work.open(slow), first, loads.stage)
        assert claimed.wait(60)
        two = pool.submit(bring_in, work.open(lambda _: None), second, loads.stage)
        with pytest.raises(TimeoutError):
            two.result(2)
        go_on.set()
        assert one.result(60).version == 2
        with pytest.raises(StaleLoadError):
            two.result(60)
    assert rows(query, "id, name") == [(1, "a"), (2, "b")]


def test_intervals_of_one_run_wait_for_each_other(work, destination, loads, query):
    """A backfill is mapped over its intervals: the claim of one of them is not dead when another comes."""
    loads.merge(destination, ONE, TWO, THREE, mode="append")
    run = {"mode": "append", "run_key": "0" * 32, "cursor": "id", "version": None}
    first = loads.make((1, "A", None), interval=Interval("1", "2"), **run)
    second = loads.make((2, "B", None), interval=Interval("2", "3"), **run)
    claimed, go_on = threading.Event(), threading.Event()

    def slow(sql):
        if sql.startswith(WRITE):
            claimed.set()
            go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(bring_in, work.open(slow), first, loads.stage)
        assert claimed.wait(60)
        two = pool.submit(bring_in, work.open(lambda _: None), second, loads.stage)
        with pytest.raises(TimeoutError):
            two.result(3)
        go_on.set()
        counts = [(found.inserted, found.deleted) for found in (one.result(60), two.result(60))]
    assert counts == [(1, 1), (1, 1)]
    assert rows(query, "id, name") == [(1, "A"), (2, "B"), (3, None)]


def test_whoever_waits_can_be_cancelled(work, destination, loads, killed):
    loads.merge(destination, ONE)
    killed(loads.make(TWO), COMMIT)
    waiting = work.open(lambda _: None)
    load = staged(destination, loads.make(THREE), loads.stage)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(waiting.commit, load, loads.stage, ())
        with pytest.raises(TimeoutError):
            late.result(1)
        waiting.cancel()
        with pytest.raises(TransientError, match="still being merged"):
            late.result(60)


# --- sent twice ---


ROWS = r"MERGE INTO `main`\.`raw`|INSERT \w+ `main`\.`raw`"


@pytest.mark.parametrize(
    ("mode", "pattern"),
    [
        *((mode, ROWS) for mode in ("merge", "append", "replace")), ("merge", r"UPDATE .* SET epoch = 3,"),
        ("append", r"UPDATE .* SET epoch = 4,"), ("append", r"INSERT INTO `main`\.`_elt`\.`receipts`"),
        ("append", r"COPY INTO"), ("merge", r"CREATE TABLE .*staging_"),
    ],
    ids=["merge", "append", "replace", "claim", "finish", "receipt", "copy", "create"],
)  # fmt: skip
def test_a_statement_that_the_driver_sends_twice(server, destination, loads, query, mode, pattern):
    """It does so when the connection breaks before the answer: the statement ran, and runs again."""
    loads.merge(destination, ONE, mode=mode)
    server.inject({"pattern": pattern, "drop": "after"})
    receipt = loads.merge(destination, (1, "A", None), TWO, mode=mode)
    expected = {"merge": (1, 1), "append": (2, 0), "replace": (1, 1)}[mode]
    assert (receipt.inserted, receipt.updated, receipt.version) == (*expected, 2)
    assert rows(query, "id, name") == [(1, "A"), *([(1, "a")] if mode == "append" else []), (2, "b")]
    sent = [sql for sql in server.statements() if re.search(pattern, sql, re.DOTALL)]
    assert len(sent) > len(set(sent)), "the driver must have sent it again"


# --- others write to the same table ---


def test_a_conflict_is_tried_again(server, destination, loads, query):
    loads.merge(destination, ONE)
    conflict = {
        "error": "[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Transaction conflict. SQLSTATE: 2D521",
        "state": "2D521",
    }
    server.inject(
        {"pattern": r"MERGE INTO `main`\.`raw`", **conflict, "times": 2}, {"pattern": "UPDATE .* SET epoch", **conflict}
    )
    assert loads.merge(destination, TWO).inserted == 1
    assert rows(query, "id, name") == [(1, "a"), (2, "b")]
