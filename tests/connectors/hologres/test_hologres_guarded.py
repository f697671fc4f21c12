"""Merges where the instance has no transactions: what is refused, and what protects the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_elt_provider.connectors.hologres.destination import HologresDestination
from airflow_elt_provider.core.modes import DeleteMode, WriteMode
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine.merge import refuse_unsafe
from airflow_elt_provider.errors import ConfigurationError, DataError, StaleLoadError, TransientError
from tests.connectors.staged_loads import bring_in, staged


class GoneError(BaseException):
    """The process is gone."""


@pytest.fixture
def guarded(settings, older):
    return replace(settings, port=older.port, lock_timeout=2)


@pytest.fixture
def destination(guarded):
    return HologresDestination(guarded)


def dying_at(guarded, beginning):
    """Return a destination whose process dies before the statement that begins so."""

    def die(sql):
        if sql.startswith(beginning):
            raise GoneError

    return HologresDestination(guarded, observe=die)


@pytest.mark.parametrize(
    ("mode", "deletes", "what"),
    [("append", "ignore", "mode='append'"), ("replace", "ignore", "mode='replace'"),
     ("merge", "hard", "deletes='hard'")],
)  # fmt: skip
def test_what_cannot_be_repeated_is_refused(destination, mode, deletes, what):
    with pytest.raises(ConfigurationError, match=f"{what} needs transactions.*elt_transactions"):
        refuse_unsafe(TableRef.parse("public.item"), WriteMode(mode), DeleteMode(deletes), destination)
    refuse_unsafe(TableRef.parse("public.item"), WriteMode.MERGE, DeleteMode.SOFT, destination)


def test_rows_know_who_wrote_them(destination, loads, execute):
    loads.merge(destination, (1, "a"), (2, "b"))
    receipt = loads.merge(destination, (2, "B"), (3, "c"))
    assert (receipt.inserted, receipt.updated) == (1, 1)
    assert execute("SELECT id, v, _elt_seq FROM item ORDER BY 1") == [(1, "a", 1), (2, "B", 2), (3, "c", 2)]


def test_a_twin_that_was_thought_dead_brings_nothing_old_back(guarded, loads, execute):
    """It stops before its upsert, another load of the stream is merged, and it wakes up."""
    quiet = HologresDestination(guarded)
    loads.merge(quiet, (1, "first"), (2, "first"))
    slow, fast = loads.make((1, "slow")), loads.make((1, "fast"))

    def overtaken(sql):
        if sql.startswith('INSERT INTO "public"."item"'):
            execute(f"UPDATE {checkpoints(execute)} SET held_until = now() - interval '1 second'")
            bring_in(HologresDestination(guarded), fast, loads.stage)

    with pytest.raises(TransientError, match="another load took over"):
        bring_in(HologresDestination(guarded, observe=overtaken), slow, loads.stage)
    assert execute("SELECT id, v FROM item ORDER BY 1") == [(1, "fast"), (2, "first")]
    with pytest.raises(StaleLoadError):
        bring_in(quiet, slow, loads.stage)
    assert quiet.receipt(slow.load_id) is None
    assert execute("SELECT id, v FROM item ORDER BY 1") == [(1, "fast"), (2, "first")]


def test_nor_does_it_bring_back_what_was_deleted_since(guarded, loads, execute):
    """A row that neither the target nor the other load has, for no row's number protects what is not there."""
    quiet = HologresDestination(guarded)
    loads.merge(quiet, (1, "a"), deletes="soft", complete=True)
    slow = loads.make((1, "a"), (2, "deleted since"), deletes="soft", complete=True)
    fast = loads.make((1, "b"), deletes="soft", complete=True)

    def overtaken(sql):
        if sql.startswith('INSERT INTO "public"."item"'):
            execute(f"UPDATE {checkpoints(execute)} SET held_until = now() - interval '1 second'")
            bring_in(HologresDestination(guarded), fast, loads.stage)

    with pytest.raises(TransientError, match="another load took over"):
        bring_in(HologresDestination(guarded, observe=overtaken), slow, loads.stage)
    assert execute("SELECT id, v FROM item") == [(1, "b")]


def checkpoints(execute):
    (name,) = execute("SELECT relname FROM pg_class WHERE relname LIKE 'checkpoints_%' AND relkind = 'r'")[0]
    return f'_elt."{name}"'


def test_a_load_that_died_before_its_receipt_is_counted_once(guarded, destination, loads, execute):
    loads.merge(destination, (1, "a"))
    load = loads.make((1, "A"), (2, "b"))
    with pytest.raises(GoneError):
        bring_in(dying_at(guarded, 'INSERT INTO "_elt"."receipts"'), load, loads.stage)
    assert execute("SELECT count(*) FROM item") == [(2,)]
    receipt = bring_in(destination, load, loads.stage)
    assert (receipt.inserted, receipt.updated) == (1, 1)


def test_one_that_died_before_its_checkpoint_is_finished_by_the_next(guarded, destination, loads, execute):
    loads.merge(destination, (1, "a"))
    load, other = loads.make((2, "b")), loads.make((3, "c"))
    with pytest.raises(GoneError):
        bring_in(dying_at(guarded, f"UPDATE {quoted(execute)} SET version"), load, loads.stage)
    assert destination.receipt(load.load_id).version == 2
    with pytest.raises(StaleLoadError):
        bring_in(destination, other, loads.stage)
    assert destination.checkpoint("stream").version == 2
    assert destination.checkpoint("stream").load_id == load.load_id


def test_reading_the_checkpoint_finishes_it_too(guarded, destination, loads, execute):
    loads.merge(destination, (1, "a"))
    with pytest.raises(GoneError):
        bring_in(dying_at(guarded, f"UPDATE {quoted(execute)} SET version"), loads.make((2, "b")), loads.stage)
    assert destination.checkpoint("stream").version == 2
    loads.version = 2
    assert loads.merge(destination, (3, "c")).version == 3


def quoted(execute):
    return checkpoints(execute).replace("_elt", '"_elt"', 1)


def test_one_load_of_a_stream_at_a_time(guarded, destination, loads, execute):
    loads.merge(destination, (1, "a"))
    load = staged(destination, loads.make((2, "b")), loads.stage)
    execute(f"UPDATE {checkpoints(execute)} SET holder = 'somebody', held_until = now() + interval '1 minute'")
    with pytest.raises(TransientError, match="load somebody is being merged"):
        destination.commit(load, loads.stage, ())
    execute(f"UPDATE {checkpoints(execute)} SET held_until = now()")
    assert destination.commit(load, loads.stage, ()).inserted == 1


def test_a_refused_load_gives_the_lease_back(destination, loads):
    loads.merge(destination, (1, "a"))
    with pytest.raises(DataError):
        loads.merge(destination, (2, None), checks=["not_null(v)"])
    assert loads.merge(destination, (2, "b")).inserted == 1


def test_soft_deletes(destination, loads, execute):
    loads.merge(destination, (1, "a"), (2, "b"), (3, "c"), deletes="soft", complete=True)
    receipt = loads.merge(destination, (1, "a"), (3, "C"), deletes="soft", complete=True)
    assert (receipt.inserted, receipt.updated, receipt.deleted) == (0, 1, 1)
    assert execute("SELECT id FROM item WHERE _elt_deleted_at IS NOT NULL") == [(2,)]
    assert loads.merge(destination, (2, "b"), (1, "a"), (3, "C"), deletes="soft", complete=True).updated == 1
    assert execute("SELECT count(*) FROM item WHERE _elt_deleted_at IS NOT NULL") == [(0,)]


def test_defaults_of_new_columns_reach_the_rows_before(destination, loads, execute):
    loads.merge(destination, (1, "a"), (2, "b"))
    wide = ("id bigint", "v text", "n int")
    loads.merge(destination, (2, "b", 5), columns=wide, backfill={"n": "7"})
    assert execute("SELECT id, n FROM item ORDER BY 1") == [(1, 7), (2, 5)]


def test_intervals_have_a_lease_and_no_checkpoint(destination, loads, execute):
    loads.merge(destination, (1, "a"))
    assert loads.merge(destination, (5, "e"), version=None).version is None
    assert destination.checkpoint("stream").version == 1
    assert loads.merge(destination, (2, "b")).version == 2


def test_a_table_from_before_gets_the_column(settings, destination, loads, execute):
    loads.merge(HologresDestination(settings), (1, "a"), (2, "b"))
    loads.merge(destination, (1, "A"))
    assert execute("SELECT id, v, _elt_seq FROM item ORDER BY 1") == [(1, "A", 1), (2, "b", None)]
    loads.merge(HologresDestination(settings), (1, "with transactions again"))
    assert execute("SELECT v FROM item WHERE id = 1") == [("with transactions again",)]


def test_a_target_with_another_key_is_refused(destination, loads, execute):
    execute("CREATE TABLE item (id bigint, v text, _elt_seq bigint)")
    with pytest.raises(ConfigurationError, match="by the target's own key"):
        loads.merge(destination, (1, "a"))


def test_one_whose_checkpoint_could_not_be_moved_is_finished_too(guarded, destination, loads, execute):
    """The statement fails, the process lives on: it must not give away by what the load is found."""
    loads.merge(destination, (1, "a"))
    move = f"UPDATE {quoted(execute)} SET version"

    def fail(sql):
        if sql.startswith(move):
            raise TransientError("a lock timeout")

    load = loads.make((2, "b"))
    with pytest.raises(TransientError, match="a lock timeout"):
        bring_in(HologresDestination(guarded, observe=fail), load, loads.stage)
    assert destination.receipt(load.load_id).version == 2
    assert destination.checkpoint("stream").load_id == load.load_id


def test_a_load_without_a_checkpoint_finishes_it_too(guarded, destination, loads, execute):
    loads.merge(destination, (1, "a"))
    load = loads.make((2, "b"))
    with pytest.raises(GoneError):
        bring_in(dying_at(guarded, f"UPDATE {quoted(execute)} SET version"), load, loads.stage)
    assert loads.merge(destination, (5, "e"), version=None).version is None
    assert destination.checkpoint("stream").load_id == load.load_id
