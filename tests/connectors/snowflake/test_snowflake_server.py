"""Against the emulator: ways to the files, changes of type that are cut off, locks, cancelling, lost answers, tags."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
import snowflake.connector

from airflow_elt_provider.connectors.snowflake.destination import SnowflakeDestination
from airflow_elt_provider.core.plan import Interval
from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError
from servers.http_front import Exchange, Fault, HttpFront, Reply
from tests.connectors.staged_loads import Loads, bring_in, staged
from tests.contract.faults import Fuse, PowerCutError

ROWS = ((1, "a", Decimal("1.10")), (2, "b", None))
WIDER = ("id bigint", "name text", "amount decimal(20,4)")


class BucketLoads(Loads):
    """Loads whose files wait in the bucket."""

    work = None

    @property
    def stage(self):
        return self.work.stage(self.folder)


@pytest.fixture
def loads(tmp_path):
    return Loads(tmp_path, "raw.item")


@pytest.fixture
def in_bucket(tmp_path, work):
    made = BucketLoads(tmp_path, "raw.item")
    made.work = work
    return made


def rows(work, columns="ID, NAME, AMOUNT"):
    return work.query(f"SELECT {columns} FROM RAW.ITEM ORDER BY 1")


# --- ways to the files ---


def test_a_bucket_is_read_with_the_stage_s_own_keys_which_nobody_sees(in_bucket, work, destination, seen, caplog):
    caplog.set_level(logging.DEBUG)
    in_bucket.merge(destination, *ROWS)
    assert rows(work) == list(ROWS)
    (copy,) = [text for text in seen if text.startswith("COPY")]
    assert "CREDENTIALS = (***)" in copy
    secret = in_bucket.stage.credentials()["aws_secret_access_key"].reveal()
    assert secret == "throw-away"
    assert secret not in "".join(seen)
    assert secret not in caplog.text


def test_a_bucket_is_read_through_a_named_stage(in_bucket, work, seen):
    in_bucket.stage.put_if_absent("x", b"")
    root = in_bucket.stage.root
    work.run("CREATE SCHEMA LOADING")
    work.run(f"CREATE STAGE LOADING.BUCKET URL = '{root.rsplit('/', 1)[0]}/' STORAGE_INTEGRATION = ELT")
    destination = SnowflakeDestination(work.settings(elt_stage="loading.bucket"), observe=seen.append)
    in_bucket.merge(destination, *ROWS)
    assert rows(work) == list(ROWS)
    (copy,) = [text for text in seen if text.startswith("COPY")]
    assert f'FROM @"{work.database}"."LOADING"."BUCKET" FILES = (\'{work.database}/s-' in copy
    assert "CREDENTIALS" not in copy


def test_a_named_stage_over_another_bucket_is_refused(in_bucket, work):
    work.run("CREATE SCHEMA LOADING")
    work.run("CREATE STAGE LOADING.OTHER URL = 's3://another/' STORAGE_INTEGRATION = ELT")
    destination = SnowflakeDestination(work.settings(elt_stage="LOADING.OTHER"))
    with pytest.raises(ConfigurationError, match=r"over s3://another/.*elt_stage"):
        in_bucket.merge(destination, *ROWS)


def test_a_bucket_can_be_sent_by_put(in_bucket, work, seen):
    destination = SnowflakeDestination(work.settings(elt_internal_stage=True), observe=seen.append)
    in_bucket.merge(destination, *ROWS)
    assert rows(work) == list(ROWS)
    assert any(text.startswith("PUT 'file:///") for text in seen)
    assert work.query(f'LIST @"{work.database}"."_ELT"."FILES"') == []


# --- names ---


def test_columns_that_fold_to_one_name_are_refused(loads, destination):
    with pytest.raises(ConfigurationError, match=r"'Id' and 'ID' have one name.*rename=\{'ID'"):
        loads.merge(destination, (1, 2), columns=("Id bigint", "ID bigint"), key=("Id",))


def test_names_can_be_exact(loads, work, seen):
    destination = SnowflakeDestination(work.settings(elt_identifiers="exact"), observe=seen.append)
    loads.merge(destination, *ROWS, target="Raw.item")
    made = [text for text in seen if text.startswith("CREATE TABLE IF NOT EXISTS") and '"item"' in text][-1]
    assert f'"{work.database}"."Raw"."item" ("id" NUMBER(19,0), "name" VARCHAR' in made
    assert any("MATCH_BY_COLUMN_NAME = CASE_SENSITIVE" in text for text in seen)


# --- types that change ---


def test_a_change_of_type_that_is_cut_off_anywhere_is_finished(loads, work):
    """Whatever statement it was: the next load ends with the same columns and the same rows."""
    loads.merge(work.open(lambda _: None), *ROWS)
    rehearsal = Fuse()
    load = loads.make((3, "c", Decimal("3.1234")), columns=WIDER)
    work.open(rehearsal.tick).prepare(load)
    moments = [at for at, text in enumerate(rehearsal.moments, 1) if "ALTER TABLE" in text or "UPDATE" in text]
    assert len(moments) == 6
    for number, moment in enumerate([*moments, moments[-1] + 1]):
        target = f"raw.item_{number}"
        work.run(
            f"CREATE TABLE RAW.ITEM_{number} AS SELECT ID, NAME, CAST(AMOUNT AS NUMBER(12,2)) AMOUNT FROM RAW.ITEM"
        )
        fuse = Fuse(blow_at=moment)
        cut = replace(load, merging=replace(load.merging, target=loads.make(target=target).target))
        with suppress(PowerCutError):
            work.open(fuse.tick).prepare(cut)
        found = work.open(lambda _: None).prepare(cut)
        assert len(found) <= 1
        assert work.columns(target) == {"id": "NUMBER(19,0)", "name": "VARCHAR", "amount": "NUMBER(20,4)"}
        shown = work.query(f"SELECT ID, AMOUNT FROM RAW.ITEM_{number} ORDER BY 1")
        assert shown == [(1, Decimal("1.1000")), (2, None)], rehearsal.moments[moment - 1]


def test_a_change_of_type_cut_off_between_the_two_names_begins_anew(loads, work):
    """Snowflake could die within the block: then the column has its second name only."""
    destination = work.open(lambda _: None)
    loads.merge(destination, *ROWS)
    work.run('ALTER TABLE RAW.ITEM ADD COLUMN "_ELT_NEW_AMOUNT" NUMBER(20,4)')
    work.run('ALTER TABLE RAW.ITEM RENAME COLUMN "AMOUNT" TO "_ELT_OLD_AMOUNT"')
    loads.merge(destination, (3, "c", Decimal("3.1234")), columns=WIDER)
    assert rows(work) == [(1, "a", Decimal("1.1000")), (2, "b", None), (3, "c", Decimal("3.1234"))]
    assert set(work.columns("raw.item")) == {"id", "name", "amount"}


@pytest.mark.parametrize("cut", [False, True])
def test_rows_that_another_stream_commits_during_a_change_of_type_keep_their_values(loads, work, cut):
    """They come after the UPDATE that fills the new column; the old one must not take their values with it."""
    loads.merge(work.open(lambda _: None), *ROWS)
    seen = []

    def another(text):
        seen.append(text)
        if text.startswith("EXECUTE IMMEDIATE"):
            work.run("INSERT INTO RAW.ITEM (ID, NAME, AMOUNT) VALUES (9, 'other', 9.25)")
        if cut and seen[-3:-1] and seen[-2] == "" and seen[-3].startswith("EXECUTE IMMEDIATE"):
            raise PowerCutError

    load = loads.make((3, "c", Decimal("3.1234")), columns=WIDER)
    with suppress(PowerCutError):
        work.open(another).prepare(load)
    bring_in(work.open(lambda _: None), load, loads.stage)
    assert rows(work)[2:] == [(3, "c", Decimal("3.1234")), (9, "other", Decimal("9.2500"))]
    assert set(work.columns("raw.item")) == {"id", "name", "amount"}


def test_a_column_of_the_clustering_key_keeps_its_type(loads, destination, seen, work):
    """Snowflake would refuse to drop it, in this load and every later one. It is asked only where a column is to go."""
    loads.settings = {"table_options": {"cluster_by": ["amount"]}}
    loads.merge(destination, *ROWS)
    assert not any(text.startswith("SHOW TABLES") for text in seen)
    remedy = f'ALTER TABLE "{work.database}"."RAW"."ITEM" DROP CLUSTERING KEY'
    with pytest.raises(ConfigurationError, match=re.escape(remedy)):
        loads.merge(destination, (3, "c", Decimal("3.1234")), columns=WIDER)
    assert work.columns("raw.item")["amount"] == "NUMBER(12,2)"
    work.run(remedy)
    loads.merge(destination, (3, "c", Decimal("3.1234")), columns=WIDER)
    assert work.columns("raw.item")["amount"] == "NUMBER(20,4)"


def test_half_a_change_of_type_of_a_clustered_column_says_so(loads, destination, work):
    """It may have been begun before somebody gave the table its key."""
    table = f'"{work.database}"."RAW"."ITEM"'
    work.run('CREATE SCHEMA "RAW"')
    work.run(
        f'CREATE TABLE {table} (ID NUMBER(19,0), NAME VARCHAR, AMOUNT NUMBER(20,4), "_ELT_OLD_AMOUNT" NUMBER(12,2)) '
        'CLUSTER BY ("_ELT_OLD_AMOUNT")'
    )
    load = loads.make((3, "c", Decimal("3.1234")), columns=WIDER)
    with pytest.raises(ConfigurationError, match=r"_elt_old_AMOUNT.*DROP CLUSTERING KEY"):
        destination.prepare(load)


def test_numbers_and_texts_grow_in_place(loads, destination, seen):
    loads.merge(destination, *ROWS)
    seen.clear()
    loads.merge(destination, (3, "c", Decimal("3.10")), columns=("id bigint", "name text", "amount decimal(20,2)"))
    altered = [text for text in seen if "ITEM" in text and text.startswith(("ALTER", "UPDATE"))]
    assert [text.split('"ITEM" ')[1] for text in altered] == ['ALTER COLUMN "AMOUNT" SET DATA TYPE NUMBER(20,2)']


def test_more_decimals_than_snowflake_keeps(loads, destination):
    with pytest.raises(ConfigurationError, match=r"keeps 37.*column_types"):
        loads.merge(destination, (1, None), columns=("id bigint", "n decimal(38,38)"))


# --- tables ---


def test_options_of_a_new_table(loads, destination, seen):
    loads.settings = {"table_options": {"cluster_by": ["name"], "transient": True, "data_retention_days": 3}}
    loads.merge(destination, *ROWS)
    made = [text for text in seen if "CLUSTER" in text][-1]
    assert made.startswith("CREATE TRANSIENT TABLE IF NOT EXISTS")
    assert made.endswith(' CLUSTER BY ("NAME") DATA_RETENTION_TIME_IN_DAYS = 3')
    loads.settings = {"table_options": {"data_retention_days": "many"}}
    with pytest.raises(ConfigurationError, match="data_retention_days='many'"):
        loads.merge(destination, *ROWS)


def test_a_merge_a_day_late_is_told_to_stage_again(loads, destination):
    late = staged(destination, loads.make(*ROWS), loads.stage)
    destination.discard(late)
    with pytest.raises(DataError, match="from its stage task on"):
        destination.commit(late, loads.stage, destination.prepare(late))


# --- transactions ---


def test_every_statement_carries_its_load_and_its_task(loads, work):
    settings = work.settings(elt_query_tag={"dag": "nightly", "task": "item's"})
    receipt = loads.merge(SnowflakeDestination(settings), *ROWS)
    history = work.query("SELECT QUERY_TEXT, QUERY_TAG FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY())")
    tags = {row[1] for row in history if row[0].startswith(("COPY", "CREATE T", "INSERT", "COMMIT")) and row[1]}
    assert {"dag": "nightly", "task": "item's", "load": receipt.load_id} in [json.loads(tag) for tag in tags]


def test_a_query_tag_of_the_connection_stays_outside_of_tasks(work):
    destination = SnowflakeDestination(work.settings(session_parameters={"QUERY_TAG": "ours"}))
    assert destination.checkpoint("stream") is None
    history = work.query("SELECT QUERY_TEXT, QUERY_TAG FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY())")
    asked = destination.dialect.checkpoints("stream")
    assert {row[1] for row in history if asked in row[0] and work.database in row[0]} == {"ours"}


def test_a_staging_table_that_goes_away_under_a_merge(loads, work):
    load = staged(work.open(lambda _: None), loads.make(*ROWS), loads.stage)

    def drop(text):
        if text.startswith("BEGIN"):
            work.open(lambda _: None).discard(load)

    destination = work.open(drop)
    with pytest.raises(DataError, match="from its stage task on"):
        destination.commit(load, loads.stage, destination.prepare(load))
    assert rows(work) == []


def test_a_load_waits_for_another_of_its_stream(loads, work, destination):
    """An interval load moves no checkpoint, and waits for one that does."""
    loads.merge(destination, *ROWS)
    load = staged(destination, loads.make((1, "new", None), version=None, interval=Interval("0", "2"), cursor="id"),
                  loads.stage)  # fmt: skip
    changes = destination.prepare(load)
    table = destination.dialect.checkpoints("stream")
    with holding(work, f"UPDATE {table} SET VERSION = VERSION"):
        began = time.monotonic()
        destination.commit(load, loads.stage, changes)
    assert time.monotonic() - began > 0.5
    assert rows(work, "ID, NAME") == [(1, "new"), (2, "b")]


def test_a_lock_that_nobody_lets_go_of(loads, work):
    """Snowflake gives up after LOCK_TIMEOUT; that is worth a retry."""
    destination = work.open(lambda _: None)
    loads.merge(destination, *ROWS)
    with pytest.raises(TransientError, match="elt_lock_timeout"):
        _raise_from(destination, 625, "57014")


def _raise_from(destination, number, state):
    with destination._account.session("merging"):
        raise snowflake.connector.ProgrammingError(msg="Statement was aborted", errno=number, sqlstate=state)


@contextmanager
def holding(work, sql):
    """Let somebody else's transaction lock something for a while."""
    held = threading.Event()

    def hold():
        with work._cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(sql)
            held.set()
            time.sleep(0.7)
            cursor.execute("COMMIT")

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    yield
    thread.join()


def test_a_running_statement_is_cancelled_from_another_thread(work):
    begun = threading.Event()
    destination = SnowflakeDestination(work.settings(), observe=lambda text: text and begun.set())
    failures = []

    def run():
        try:
            with destination._account.session("counting") as session:
                session.query(
                    "SELECT count(*) FROM (SELECT unnest(generate_series(1, 300000)) i) a CROSS JOIN "
                    "(SELECT unnest(generate_series(1, 300000)) i) b WHERE a.i * b.i % 7 = 1"
                )
        except TransientError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(10)
    for _ in range(20):
        destination.cancel()
        thread.join(0.5)
    assert not thread.is_alive()
    assert "cancelled" in str(failures[0])


class _Exchange(Exchange):
    def _pass_on(self, asked, body, cut):
        with self._connected() as upstream:
            answer = self._request(upstream, body)
            self._answer(Reply(answer.status, dict(answer.headers), answer.read()), cut)


class _Front(HttpFront):
    exchange = _Exchange


def test_a_lost_answer_to_commit_is_asked_for(loads, work, caplog):
    """The receipt tells that it was done."""
    front = _Front(work.port)
    front.start()

    def observe(text):
        front.heal()
        if text == "COMMIT":
            front.inject(Fault("POST", "/queries/v1/query-request", when="after", times=1000))

    settings = work.settings(port=front.port, network_timeout=3)
    receipt = loads.merge(SnowflakeDestination(settings, observe=observe), *ROWS)
    front.close()
    assert receipt.inserted == 2
    assert rows(work) == list(ROWS)
    assert "the answer to COMMIT was lost" in caplog.text


def test_a_server_that_is_not_there(loads, work):
    with pytest.raises((TransientError, ConfigurationError), match="Cannot log in to Snowflake"):
        loads.merge(SnowflakeDestination(work.settings(port=1, login_timeout=2)), *ROWS)


def test_staging_tables_of_the_dead_are_dropped(loads, destination, work):
    load = loads.make(*ROWS)
    attempt = staged(destination, load, loads.stage)
    assert destination.staged(load.load_id) == attempt.staging
    assert list(destination.collect_garbage(timedelta(hours=1))) == []
    assert list(destination.collect_garbage(timedelta(0))) == [attempt.staging]
    assert work.staging_tables() == []
    bring_in(destination, load, loads.stage)


def test_files_that_the_dead_have_sent_are_removed(loads, work):
    work.open(lambda _: None).ingest(loads.make(*ROWS), loads.stage)

    def cut(text):
        if text.startswith("COPY"):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        work.open(cut).ingest(loads.make(*ROWS), loads.stage)
    listed = f'LIST @"{work.database}"."_ELT"."FILES"'
    assert len(work.query(listed)) == 2
    dropped = work.open(lambda _: None).collect_garbage(timedelta(0))
    assert sorted(name.split("_")[0][:7] for name in dropped)[1:] == ["LOADING", "STAGING"]
    assert work.query(listed) == []
    assert work.staging_tables() == []
