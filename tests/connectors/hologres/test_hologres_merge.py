"""Merges in DML transactions: what others see, twins, streams side by side, stops, lost answers, privileges."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_elt_provider.connectors.hologres.destination import HologresDestination
from airflow_elt_provider.connectors.hologres.settings import HologresSettings, Transactions
from airflow_elt_provider.core.protocols import Commit
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, DataError, StaleLoadError, TransientError
from servers.postgres_proxy import PostgresFaultProxy
from tests.connectors.staged_loads import Loads, bring_in, staged

WIDE = ("id bigint", "v text", "n int")


def test_what_it_can_do(destination, settings, older):
    assert destination.capabilities.commit is Commit.TRANSACTION
    assert "orientation" in destination.capabilities.table_options
    assert (
        HologresDestination(replace(settings, elt_transactions=Transactions.OFF)).capabilities.commit is Commit.GUARDED
    )
    asked = replace(settings, port=older.port, elt_transactions=Transactions.ON)
    with pytest.raises(ConfigurationError, match=r"1\.3\.44.*elt_transactions='on'"):
        HologresDestination(asked).capabilities  # noqa: B018 - it asks


def test_rows_are_upserted_by_key_and_counted(destination, loads, execute):
    loads.merge(destination, (1, "a"), (2, "b"), (3, "c"))
    receipt = loads.merge(destination, (2, "B"), (3, "c"), (4, "d"))
    assert (receipt.inserted, receipt.updated, receipt.deleted) == (1, 1, 0)
    assert execute("SELECT * FROM item ORDER BY 1") == [(1, "a"), (2, "B"), (3, "c"), (4, "d")]


def test_a_target_without_the_load_s_key_is_merged_all_the_same(destination, loads, execute):
    execute("CREATE TABLE item (id bigint, v text)")
    loads.merge(destination, (1, "a"), (2, "b"))
    receipt = loads.merge(destination, (2, "B"), (3, "c"))
    assert (receipt.inserted, receipt.updated) == (1, 1)
    assert execute("SELECT * FROM item ORDER BY 1") == [(1, "a"), (2, "B"), (3, "c")]


def test_a_key_alone_has_nothing_to_update(destination, tmp_path, execute):
    loads = Loads(tmp_path, "public.item", columns=("id bigint",))
    loads.merge(destination, (1,))
    assert loads.merge(destination, (1,), (2,)).inserted == 1
    assert execute("SELECT id FROM item ORDER BY 1") == [(1,), (2,)]


def test_readers_see_the_old_table_or_the_new_one(settings, loads, execute):
    """At every statement of a replace: never an empty table, nor half of one."""
    seen = []

    def look(sql):
        if sql and execute("SELECT to_regclass('public.item')") != [(None,)]:
            seen.append(execute("SELECT count(*), min(v) FROM item")[0])

    destination = HologresDestination(settings, observe=look)
    loads.merge(destination, *((n, "old") for n in range(50)), mode="replace")
    seen.clear()
    loads.merge(destination, *((n, "new") for n in range(40)), mode="replace")
    assert set(seen) == {(50, "old"), (40, "new")}


def test_a_twin_of_the_same_load_gets_its_receipt(destination, loads, execute):
    load = loads.make((1, "a"), mode="append")
    first, second = (staged(destination, load, loads.stage) for _ in range(2))
    changes = destination.prepare(load)
    with ThreadPoolExecutor(2) as pool:
        receipts = list(pool.map(lambda one: destination.commit(one, loads.stage, changes), (first, second)))
    assert receipts[0] == receipts[1]
    assert execute("SELECT id, v FROM item") == [(1, "a")]


def test_so_does_one_that_leaves_the_checkpoint_alone(settings, loads, execute):
    """Both are past the question for a receipt before one of them commits."""
    begun = threading.Barrier(2, timeout=20)

    def wait(sql):
        if sql == "BEGIN":
            begun.wait()

    quiet = HologresDestination(settings)
    loads.merge(quiet, (0, "z"), mode="append")
    load = loads.make((1, "a"), mode="append", version=None)
    changes = quiet.prepare(load)
    both = [staged(quiet, load, loads.stage) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        receipts = list(
            pool.map(lambda one: HologresDestination(settings, observe=wait).commit(one, loads.stage, changes), both)
        )
    assert receipts[0] == receipts[1]
    assert execute("SELECT id FROM item ORDER BY 1") == [(0,), (1,)]


def test_a_twin_that_is_merged_while_the_other_looks_for_its_rows(settings, loads, execute):
    """It drops the staging tables of both."""
    quiet = HologresDestination(settings)
    loads.merge(quiet, (0, "z"), mode="append")
    load = loads.make((1, "a"), mode="append")
    slow, fast = (staged(quiet, load, loads.stage) for _ in range(2))
    changes, receipts = quiet.prepare(load), []

    def overtaken(sql):
        if sql.startswith("SELECT staging_table") and not receipts:
            receipts.append(quiet.commit(fast, loads.stage, changes))

    assert HologresDestination(settings, observe=overtaken).commit(slow, loads.stage, changes) == receipts[0]
    assert execute("SELECT id FROM item ORDER BY 1") == [(0,), (1,)]


def test_a_stale_load_leaves_no_trace(destination, loads, execute):
    old = loads.make((1, "old"))
    loads.merge(destination, (1, "new"))
    with pytest.raises(StaleLoadError):
        bring_in(destination, old, loads.stage)
    assert execute("SELECT v FROM item") == [("new",)]


def test_streams_merge_side_by_side(settings, tmp_path, execute):
    """Each has a checkpoint's table of its own; only the receipt, written last, is everybody's."""

    def merge(number):
        loads = Loads(
            tmp_path / str(number), f"public.item_{number}", columns=("id bigint", "v text"), stream=f"s{number}"
        )
        for round_ in range(3):
            loads.merge(HologresDestination(settings), (1, str(round_)), (round_ + 10, "x"))
        return number

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(merge, range(4))) == [0, 1, 2, 3]
    tables = execute("SELECT relname FROM pg_class WHERE relname LIKE 'checkpoints_%' AND relkind = 'r'")
    assert len(tables) == 4


def test_a_key_that_the_source_only_promised(destination, loads):
    loads.merge(destination, (1, "a"))
    with pytest.raises(DataError, match=r"second time.*primary_key"):
        loads.merge(destination, (2, "b"), (2, "c"))


def test_a_refused_load_can_be_corrected(destination, loads, execute):
    loads.merge(destination, (1, "a"))
    with pytest.raises(DataError, match="1 violations"):
        loads.merge(destination, (2, None), checks=["not_null(v)"])
    loads.merge(destination, (2, "b"), checks=["not_null(v)"])
    assert execute("SELECT count(*) FROM item") == [(2,)]


# --- staging tables ---


def test_a_staging_table_of_a_dead_attempt_is_found(settings, loads, execute):
    """It is registered before it is made."""

    class GoneError(BaseException):
        pass

    def die(sql):
        if sql.startswith("COPY"):
            raise GoneError

    load = loads.make((1, "a"))
    with pytest.raises(GoneError):
        staged(HologresDestination(settings, observe=die), load, loads.stage)
    destination = HologresDestination(settings)
    assert destination.staged(load.load_id) is None, "it has no rows yet"
    (name,) = destination.collect_garbage(timedelta(0))
    assert execute("SELECT count(*) FROM pg_class WHERE relname = %s", (name,)) == [(0,)]
    assert bring_in(destination, load, loads.stage).inserted == 1
    assert destination.collect_garbage(timedelta(0)) == []


# --- stopping ---


def test_a_merge_is_never_cancelled_within_its_transaction(settings, loads, execute, instance):
    """cancel() lets the statement end, rolls back, and no table stays locked."""
    destination = HologresDestination(settings)
    loads.merge(destination, (1, "a"))

    def stop(sql):
        if sql.startswith('INSERT INTO "public"."item"'):
            merging.cancel()

    merging = HologresDestination(settings, observe=stop)
    with pytest.raises(TransientError, match="nothing was merged"):
        loads.merge(merging, (1, "b"))
    assert execute("SELECT v FROM item") == [("a",)]
    assert instance.proxy.leaked == []
    assert loads.merge(destination, (1, "c")).updated == 1


def test_what_runs_outside_of_a_transaction_is_cancelled(settings, loads, execute):
    destination = HologresDestination(settings)
    loads.merge(destination, (1, "a"))
    execute("BEGIN")
    execute('LOCK TABLE "_elt".receipts IN ACCESS EXCLUSIVE MODE')
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(destination.receipt, "x")
        time.sleep(1)
        destination.cancel()
        with pytest.raises(TransientError, match="cancelled"):
            waiting.result(15)
    assert time.monotonic() - started < 15
    execute("ROLLBACK")


def test_statement_timeout_does_not_reach_into_the_transaction(settings, loads, execute, instance):
    """A statement that is cancelled there would leave its tables locked."""
    limited = HologresDestination(replace(settings, statement_timeout=0.5))
    loads.merge(limited, (1, "a"))
    execute("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.8); RETURN NEW; END'")
    execute("CREATE TRIGGER slow BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION slow()")
    assert loads.merge(limited, (2, "b")).inserted == 1
    assert instance.proxy.leaked == []


def test_somebody_s_lock_is_waited_for_and_named(settings, loads, execute):
    loads.merge(HologresDestination(settings), (1, "a"))
    execute("BEGIN")
    execute("LOCK TABLE item IN EXCLUSIVE MODE")
    with pytest.raises(TransientError, match="lock"):
        loads.merge(HologresDestination(replace(settings, lock_timeout=0.5)), (1, "b"))
    execute("ROLLBACK")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_commit_is_asked_for(settings, instance, loads, execute, when):
    with PostgresFaultProxy(instance.port) as proxy:
        loads.merge(HologresDestination(settings), (1, "a"))
        load = staged(HologresDestination(settings), loads.make((2, "b"), mode="merge"), loads.stage)
        through = HologresDestination(replace(settings, port=proxy.port))
        changes = through.prepare(load)
        cut = proxy.cut_on_query(b"^COMMIT", when=when)
        if when == "after":
            assert through.commit(load, loads.stage, changes).inserted == 1
        else:
            with pytest.raises(TransientError):
                through.commit(load, loads.stage, changes)
        assert cut.done.is_set()
    rows = [(1, "a"), (2, "b")] if when == "after" else [(1, "a")]
    assert execute("SELECT * FROM item ORDER BY 1") == rows


# --- logging in, privileges ---


def test_privileges_are_named_with_the_permission_model(settings, loads, execute):
    loads.merge(HologresDestination(settings), (1, "a"))
    name = f"r_{settings.dbname}"
    execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    poor = HologresDestination(replace(settings, user=name, password=Secret("x")))
    with pytest.raises(ConfigurationError, match=r"GRANT.*spm_grant\('<database>_developer'.*slpm_grant"):
        poor.receipts("stream")
    execute(f"DROP ROLE {name}")


def test_a_wrong_key_is_told(settings):
    wrong = HologresDestination(replace(settings, password=Secret("hunter2")))
    with pytest.raises(ConfigurationError, match=r"Cannot connect to Hologres.*AccessKey secret") as caught:
        wrong.checkpoint("x")
    assert "hunter2" not in str(caught.value) + repr(wrong)


def test_a_plain_postgresql_is_told(settings, postgres):
    with pytest.raises(ConfigurationError, match=r"is not Hologres.*type postgres"):
        HologresDestination(replace(settings, port=postgres.port)).checkpoint("x")


def test_settings():
    parsed = HologresSettings.parse(
        {"host": "h.hologres.aliyuncs.com:80", "user": "LTAI", "password": "s", "dbname": "d"}
    )
    assert (parsed.host, parsed.port, parsed.elt_transactions) == ("h.hologres.aliyuncs.com", 80, Transactions.AUTO)
    assert HologresSettings.parse({"elt_transactions": False}).elt_transactions is Transactions.OFF
    assert HologresSettings.parse({"host": "h"}).port == 80
    with pytest.raises(ConfigurationError, match="use one of auto, on, off"):
        HologresSettings.parse({"elt_transactions": "maybe"})
