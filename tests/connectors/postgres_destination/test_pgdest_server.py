"""What only a PostgreSQL target has: locks, readers, grants, dependents, odd targets, lost answers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.core.doctor import Inquiry
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import (
    ConfigurationError,
    DataError,
    SchemaDriftError,
    StaleLoadError,
    TransientError,
    UncertainCommitError,
)
from servers.postgres_proxy import PostgresFaultProxy
from tests.connectors.staged_loads import Loads, bring_in, staged

STAGING = "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ '[0-9]{8}T[0-9]{6}'"


@pytest.fixture
def loads(tmp_path):
    return Loads(tmp_path, "public.item", columns=("id integer", "v text"))


@pytest.fixture
def through_proxy(server, settings):
    with PostgresFaultProxy(server.port) as proxy:
        yield proxy, PostgresDestination(replace(settings, port=proxy.port))


def role(execute, settings, *grants):
    """Make a role of few rights and return its settings; roles are the whole server's, so are their names."""
    name = f"r_{settings.dbname}"
    execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    for grant in grants:
        execute(grant.format(name))
    return PostgresSettings.parse({**settings.keywords(), "user": name, "password": "x"})


# --- readers ---


def test_replace_keeps_everything_around_the_table(destination, loads, execute, settings):
    loads.merge(destination, (1, "a"), (2, "b"), mode="replace")
    reader = role(execute, settings, "GRANT SELECT ON public.item TO {}")
    execute("CREATE VIEW seen AS SELECT * FROM item")
    execute("CREATE INDEX by_v ON item (v)")
    execute("COMMENT ON TABLE item IS 'mine'")
    execute("CREATE TABLE child (id int REFERENCES item ON DELETE CASCADE)")
    execute("INSERT INTO child VALUES (1)")
    oid = execute("SELECT 'item'::regclass::oid")
    receipt = loads.merge(destination, (1, "A"), (3, "c"), mode="replace")
    assert (receipt.inserted, receipt.updated, receipt.deleted) == (1, 1, 1)
    assert execute("SELECT id FROM child") == [(1,)], "rows that stay are never deleted, not even for a moment"
    assert execute("SELECT 'item'::regclass::oid, obj_description('item'::regclass)") == [(*oid[0], "mine")]
    assert execute("SELECT v FROM seen ORDER BY id") == [("A",), ("c",)]
    assert execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'item'") == [(2,)]
    assert execute(f"SELECT has_table_privilege('{reader.user}', 'item', 'select')") == [(True,)]


@pytest.mark.parametrize("changed", [1, 500])
def test_every_snapshot_sees_the_old_or_the_new_table(destination, loads, connect, changed):
    """One reader holds a snapshot over replaces, another looks again and again; row by row and exchanged whole."""
    loads.merge(destination, *((i, "0") for i in range(1000)), mode="replace")
    old = connect(options="-c default_transaction_isolation=repeatable\\ read").cursor()
    old.execute("SELECT 1")
    stop, seen = threading.Event(), set()

    def look():
        session = connect()
        session.autocommit = True
        with session.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("SELECT count(*), count(*) FILTER (WHERE v = '0'), max(v) FROM item")
                seen.add(cursor.fetchone())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(1, 4):
        rows = ((i, str(number) if i < changed else "0") for i in range(1000))
        assert loads.merge(destination, *rows, mode="replace").updated == changed
    stop.set()
    reader.join()
    assert seen <= {(1000, 1000, "0"), *((1000, 1000 - changed, str(number)) for number in range(1, 4))}
    old.execute("SELECT count(*), min(v), max(v) FROM item")
    assert old.fetchone() == (1000, "0", "0")


def test_a_new_target_gets_default_privileges(destination, loads, execute, settings):
    reader = role(execute, settings, "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {}")
    loads.merge(destination, (1, "a"))
    assert execute(f"SELECT has_table_privilege('{reader.user}', 'item', 'select')") == [(True,)]
    assert execute("SELECT relpersistence FROM pg_class WHERE relname = 'item'") == [("p",)]
    keys = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p'"
    assert ("item_pkey", "PRIMARY KEY (id)") in execute(keys)
    assert execute(STAGING) == []


def test_append_into_a_new_target_stamps_every_row(destination, loads, execute):
    receipt = loads.merge(destination, (1, "a"), (1, "a"), mode="append")
    assert execute("SELECT DISTINCT _elt_load_id FROM item") == [(receipt.load_id,)]
    execute("INSERT INTO item VALUES (2, 'by hand')")
    assert execute("SELECT _elt_load_id FROM item WHERE id = 2") == [(None,)]


def test_two_streams_make_one_target_at_once(destination, loads, execute, tmp_path):
    def one(number):
        mine = Loads(tmp_path / str(number), "public.item", columns=("id integer", "v text"), stream=f"s{number}")
        for _ in range(5):
            try:
                return mine.merge(destination, (number, "x")).inserted
            except TransientError:
                continue
        raise AssertionError

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == [1] * 4
    assert execute("SELECT count(*) FROM item") == [(4,)]


# --- locks ---


def test_a_held_lock_is_a_fault_of_the_moment(settings, loads, connect, execute):
    loads.merge(PostgresDestination(settings), (1, "a"))
    writer = connect()
    writer.cursor().execute("UPDATE item SET v = 'w'")
    hasty = PostgresDestination(replace(settings, lock_timeout=0.2))
    with pytest.raises(TransientError, match="lock"):
        loads.merge(hasty, (2, "b"))
    writer.rollback()
    loads.version = 1
    assert loads.merge(hasty, (2, "b")).inserted == 1
    reader = connect(options="-c default_transaction_isolation=repeatable\\ read").cursor()
    reader.execute("SELECT * FROM item")
    assert loads.merge(hasty, (3, "c")).inserted == 1, "readers are not in the way"


def test_cancel_from_another_thread(settings, loads, connect):
    destination = PostgresDestination(settings)
    loads.merge(destination, (1, "a"))
    connect().cursor().execute("LOCK TABLE item")
    destination.cancel()
    threading.Timer(0.5, destination.cancel).start()
    started = time.monotonic()
    with pytest.raises(TransientError):
        loads.merge(destination, (2, "b"))
    assert time.monotonic() - started < 10


# --- lost answers, dead attempts ---


def test_the_answer_to_commit_is_lost(through_proxy, loads, execute):
    proxy, destination = through_proxy
    load = staged(destination, loads.make((1, "a"), mode="append"), loads.stage)
    changes = destination.prepare(load)
    cut = proxy.cut_on_query(b"^COMMIT", "after")
    assert destination.commit(load, loads.stage, changes).inserted == 1
    assert cut.done.is_set()
    assert execute("SELECT count(*) FROM item") == [(1,)]


def test_commit_never_arrived(through_proxy, loads, execute):
    proxy, destination = through_proxy
    load = staged(destination, loads.make((1, "a"), mode="append"), loads.stage)
    changes = destination.prepare(load)
    proxy.cut_on_query(b"^COMMIT", "before")
    with pytest.raises(TransientError, match="lost"):
        destination.commit(load, loads.stage, changes)
    assert destination.commit(load, loads.stage, changes).inserted == 1
    assert execute("SELECT count(*) FROM item") == [(1,)]


def test_commit_is_lost_and_the_server_with_it(through_proxy, loads, settings):
    proxy, destination = through_proxy
    load = staged(destination, loads.make((1, "a"), mode="append"), loads.stage)
    changes = destination.prepare(load)
    proxy.cut_on_query(b"^COMMIT", "after")
    refused = threading.Thread(target=lambda: (_wait(lambda: proxy.counts.cuts), proxy.refuse()))
    refused.start()
    with pytest.raises(UncertainCommitError) as caught:
        destination.commit(load, loads.stage, changes)
    refused.join()
    assert caught.value.load_id == load.load_id
    assert PostgresDestination(settings).receipt(load.load_id).inserted == 1


def _wait(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("cut", "skip"), [(b"^CREATE UNLOGGED", 0), (b"^COPY", 0), (b"staging_table.*VALUES", 0), (b"^COMMIT", 2)]
)
def test_a_dead_ingest_leaves_no_staging_table(through_proxy, loads, execute, cut, skip):
    proxy, destination = through_proxy
    execute("CREATE TABLE item (id int PRIMARY KEY, v text)")
    loads.merge(destination, (1, "a"))
    load = loads.make(*((i, "x" * 1000) for i in range(5000)))
    proxy.cut_on_query(cut, "before", skip=skip)
    with pytest.raises(TransientError):
        destination.ingest(load, loads.stage)
    assert execute(STAGING) == []
    assert destination.staged(load.load_id) is None
    assert bring_in(destination, load, loads.stage).inserted == 4999


def test_staging_tables_are_found_and_dropped(destination, loads, execute):
    loads.merge(destination, (1, "a"))
    load = loads.make((2, "b"), (3, "c"))
    first, second = (staged(destination, load, loads.stage) for _ in range(2))
    assert destination.staged(load.load_id) == second.staging
    assert destination.collect_garbage(timedelta(days=1)) == []
    destination.commit(first, loads.stage, destination.prepare(first))
    assert execute(STAGING) == [], "those of other attempts of the load go too"
    assert destination.staged(load.load_id) is None
    old = staged(destination, loads.make((4, "d"), version=2), loads.stage)
    execute("UPDATE _elt.staging SET created_at = now() - interval '25 hours'")
    staged(destination, loads.make((5, "e"), version=2), loads.stage)
    assert len(execute(STAGING)) == 1, "a later load drops the tables of dead attempts"
    with pytest.raises(DataError, match="stage task"):
        destination.commit(old, loads.stage, destination.prepare(old))
    assert len(destination.collect_garbage(timedelta(0))) == 1


def test_a_staging_table_that_lost_rows_is_refused(destination, loads, execute):
    loads.merge(destination, (1, "a"))
    load = staged(destination, loads.make((2, "b"), (3, "c")), loads.stage)
    execute(f'DELETE FROM _elt."{load.staging}" WHERE id = 3')
    with pytest.raises(DataError, match="has 1 rows, the manifest lists 2"):
        destination.commit(load, loads.stage, destination.prepare(load))
    assert execute("SELECT count(*) FROM item") == [(1,)]


def test_a_crash_of_the_server(server, settings, loads):
    """Unlogged tables are empty after a crash: noticed, and staged again."""
    destination = PostgresDestination(settings)
    loads.merge(destination, (1, "a"))
    load = staged(destination, loads.make((2, "b")), loads.stage)
    server.kill()
    with pytest.raises(TransientError):
        destination.receipt("x")
    server.start()
    with pytest.raises(DataError, match="stage task"):
        destination.commit(load, loads.stage, destination.prepare(load))
    assert bring_in(destination, load, loads.stage).inserted == 1


def test_twins_prepare_and_commit_at_once(destination, loads, execute):
    load = loads.make((1, "a"), mode="append")

    def attempt(_):
        mine = staged(destination, load, loads.stage)
        return destination.commit(mine, loads.stage, destination.prepare(mine))

    with ThreadPoolExecutor(4) as pool:
        receipts = list(pool.map(attempt, range(4)))
    assert all(receipt == receipts[0] for receipt in receipts)
    assert execute("SELECT count(*) FROM item") == [(1,)]
    destination.discard(load)
    assert execute(STAGING) == []


def test_stale_loads_at_once(destination, loads, execute):
    twins = [loads.make((number, "a"), mode="append", version=0) for number in range(4)]

    def attempt(load):
        try:
            return bring_in(destination, load, loads.stage).inserted
        except (StaleLoadError, TransientError):
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, twins)) == 1
    assert execute("SELECT count(*) FROM item") == [(1,)]


# --- privileges ---


def test_a_reader_may_ask_and_creates_nothing(execute, settings):
    reader = PostgresDestination(role(execute, settings))
    assert reader.checkpoint("s") is None
    assert reader.receipt("x") is None
    assert execute("SELECT count(*) FROM pg_namespace WHERE nspname = '_elt'") == [(0,)]


def test_missing_privileges_are_named(execute, settings, destination, loads):
    poor = PostgresDestination(role(execute, settings, "REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    with pytest.raises(ConfigurationError, match="GRANT CREATE ON DATABASE"):
        loads.merge(poor, (1, "a"))
    name = f"r_{settings.dbname}"
    execute(f"GRANT CREATE ON DATABASE {settings.dbname} TO {name}")
    with pytest.raises(ConfigurationError, match="GRANT CREATE ON SCHEMA public"):
        loads.merge(poor, (1, "a"))
    execute("CREATE TABLE item (id int PRIMARY KEY, v text)")
    with pytest.raises(ConfigurationError, match=r"GRANT .*INSERT.* ON item"):
        loads.merge(poor, (1, "a"))
    execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON item TO {name}")
    assert loads.merge(poor, (1, "a")).inserted == 1
    with pytest.raises(ConfigurationError, match=r"owner of table item.*member of the role"):
        loads.merge(poor, (1, "a", 1), columns=("id integer", "v text", "more integer"))


# --- targets ---


def test_a_view_in_the_way_of_a_wider_type(destination, loads, execute):
    loads.merge(destination, (1, "a"))
    execute("CREATE VIEW seen AS SELECT id, v FROM item")
    with pytest.raises(ConfigurationError, match="view seen") as caught:
        loads.merge(destination, (2, "b"), columns=("id bigint", "v text"))
    assert "freeze" in caught.value.hint
    assert loads.merge(destination, (2, "b"), columns=("id bigint", "v text"), on_schema_drift="freeze").inserted == 1


@pytest.mark.parametrize("what", ["table", "column", "schema"])
def test_names_that_postgresql_would_cut_off(destination, loads, what):
    long = "語" * 21 + "x"
    if what == "column":
        loads.columns = ("id integer", f"{long} text")
    else:
        loads.target = f"{long}.item" if what == "schema" else long
    with pytest.raises(ConfigurationError, match="64 bytes"):
        loads.merge(destination, (1, "a"))
    loads.columns, loads.target = ("id integer", f"{long[:21]} text"), long[:21]
    assert loads.merge(destination, (1, "a")).inserted == 1


def test_targets_of_other_kinds(destination, loads, execute):
    execute("CREATE TABLE parts (id int, v text) PARTITION BY RANGE (id)")
    execute("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)")
    execute("CREATE VIEW over AS SELECT * FROM parts")
    execute("CREATE MATERIALIZED VIEW kept AS SELECT * FROM parts")
    for target in ("parts", "over"):
        mine = Loads(loads.folder, target, columns=loads.columns, stream=target)
        execute("TRUNCATE parts")
        mine.merge(destination, (1, "a"), (2, "b"))
        assert mine.merge(destination, (2, "B"), (3, "c"), mode="replace").updated == 1
        assert execute("SELECT * FROM parts ORDER BY 1") == [(2, "B"), (3, "c")]
    with pytest.raises(DataError, match="no partition"):
        Loads(loads.folder, "parts", columns=loads.columns, stream="x").merge(destination, (11, "x"))
    with pytest.raises(ConfigurationError, match="kept"):
        Loads(loads.folder, "kept", columns=loads.columns, stream="y").merge(destination, (1, "x"))
    with pytest.raises(ConfigurationError, match=r"schema\.table"):
        Loads(loads.folder, "other.public.item", columns=loads.columns, stream="z").merge(destination, (1, "x"))


def test_a_foreign_table(destination, loads, execute, settings):
    execute("CREATE TABLE far (id int, v text)")
    execute("CREATE EXTENSION postgres_fdw")
    place = f"host '127.0.0.1', port '{settings.port}', dbname '{settings.dbname}'"
    login = f"user '{settings.user}', password '{settings.password.reveal()}'"
    execute(f"CREATE SERVER me FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({place})")
    execute(f"CREATE USER MAPPING FOR CURRENT_USER SERVER me OPTIONS ({login})")
    execute("CREATE FOREIGN TABLE near (id int, v text) SERVER me OPTIONS (table_name 'far')")
    mine = Loads(loads.folder, "near", columns=loads.columns)
    mine.merge(destination, (1, "a"), (2, "b"))
    assert mine.merge(destination, (2, "B")).updated == 1
    assert execute("SELECT * FROM far ORDER BY 1") == [(1, "a"), (2, "B")]


def test_constraints_of_a_user_s_table_hold(destination, loads, execute):
    execute("CREATE TABLE parent (id int PRIMARY KEY)")
    execute("CREATE TABLE item (id int PRIMARY KEY REFERENCES parent, v text NOT NULL, w text NOT NULL DEFAULT 'w')")
    execute("INSERT INTO parent VALUES (1), (2)")
    loads.merge(destination, (1, "a"))
    for row, said in (((3, "c"), r"\(id\)=\(3\) is not present"), ((2, None), '"v"')):
        with pytest.raises(DataError, match=said):
            loads.merge(destination, row)
    deferred = "FOREIGN KEY (id) REFERENCES parent DEFERRABLE INITIALLY DEFERRED"
    execute(f"ALTER TABLE item DROP CONSTRAINT item_id_fkey, ADD {deferred}")
    with pytest.raises(DataError, match="is not present"):
        loads.merge(destination, (3, "c"))
    assert execute("SELECT * FROM item") == [(1, "a", "w")]


def test_deleting_a_row_that_others_point_at(destination, loads, execute):
    loads.merge(destination, (1, "a"), (2, "b"), mode="replace")
    execute("CREATE TABLE child (id int REFERENCES item)")
    execute("INSERT INTO child VALUES (2)")
    with pytest.raises(DataError, match="still referenced"):
        loads.merge(destination, (1, "a"), mode="replace")


def test_a_key_that_moves_between_rows_of_a_unique_column(destination, loads, execute):
    execute("CREATE TABLE item (id int PRIMARY KEY, v text UNIQUE)")
    loads.merge(destination, (1, "a"), (2, "b"), mode="replace")
    assert loads.merge(destination, (3, "a"), (2, "b"), mode="replace").deleted == 1
    assert execute("SELECT * FROM item ORDER BY 1") == [(2, "b"), (3, "a")]


def test_a_target_whose_key_is_there_twice(destination, loads, execute):
    execute("CREATE TABLE item (id int, v text)")
    execute("INSERT INTO item VALUES (1, 'a'), (1, 'a'), (2, 'b'), (NULL, 'n')")
    receipt = loads.merge(destination, (1, "a"), (3, "c"), mode="replace")
    assert execute("SELECT * FROM item ORDER BY 1") == [(1, "a"), (3, "c")]
    assert (receipt.deleted, receipt.inserted) == (4, 2)


def test_a_changed_key_is_refused_or_said(destination, loads):
    loads.merge(destination, (1, "a"))
    with pytest.raises(SchemaDriftError, match="key"):
        loads.merge(destination, (1, "a"), key=("v",))


def test_values_that_the_target_cannot_take(destination, loads):
    loads.columns = ("id integer", "v text", "n decimal(12,2)")
    with pytest.raises(DataError, match="0x00"):
        loads.merge(destination, (1, "a\0b", Decimal(1)))


def test_statements_run_on_postgresql_11(destination, loads, settings):
    """Words that older servers do not know; the real ones are not on every machine."""
    seen = []
    watched = PostgresDestination(settings, observe=seen.append)
    loads.merge(watched, (1, "a"), mode="replace")
    loads.merge(watched, (1, "b"), mode="replace")
    loads.merge(watched, (1, "b"), mode="merge", deletes="soft", complete=True)
    text = "\n".join(seen).upper()
    for word in ("MERGE INTO", "NULLS NOT DISTINCT", "MATERIALIZED", "GENERATED"):
        assert word not in text
    assert all(isinstance(each, str) for each in seen)


def test_wrong_passwords_and_dead_servers(settings, loads):
    with pytest.raises(ConfigurationError, match="password"):
        loads.merge(PostgresDestination(replace(settings, password=Secret("wrong-password"))), (1, "a"))
    with pytest.raises(TransientError):
        loads.merge(PostgresDestination(replace(settings, port=1)), (1, "a"))


def test_a_generated_column_cannot_be_written(destination, loads, execute):
    execute("CREATE TABLE item (id int PRIMARY KEY, v text GENERATED ALWAYS AS (id::text) STORED)")
    with pytest.raises(ConfigurationError, match="generated"):
        loads.merge(destination, (1, "a"))


# --- row security ---


@pytest.mark.parametrize("policy", ["CREATE POLICY p ON item USING (id > 1) WITH CHECK (true)", ""])
def test_a_target_of_which_the_role_sees_only_a_part_is_refused(loads, execute, settings, policy):
    """What it does not see it would insert again and again; without any policy it may insert nothing at all."""
    execute("CREATE TABLE item (id int, v text); ALTER TABLE item ENABLE ROW LEVEL SECURITY")
    execute(policy or "SELECT 1")
    few = role(execute, settings, "GRANT ALL ON item TO {}", f"GRANT CREATE ON DATABASE {settings.dbname} TO {{}}")
    limited = PostgresDestination(few)
    with pytest.raises(ConfigurationError, match=f"Row security of public.item applies to role '{few.user}'") as caught:
        loads.merge(limited, (1, "a"), (2, "b"))
    assert caught.value.hint.startswith(f'ALTER ROLE "{few.user}" BYPASSRLS')
    (found,) = [each for each in limited.diagnose(Inquiry((TableRef.parse("item"),))) if "item: write" in each.check]
    assert (found.verdict, found.remedy) == ("problem", caught.value.hint)
    execute(f'ALTER ROLE "{few.user}" BYPASSRLS')
    for _ in range(2):
        loads.merge(limited, (1, "a"), (2, "b"))
    assert execute("SELECT id, count(*) FROM item GROUP BY 1 ORDER BY 1") == [(1, 1), (2, 1)]


def test_row_security_below_a_view_stops_the_merge(loads, execute, settings):
    execute("CREATE TABLE base (id int, v text); ALTER TABLE base ENABLE ROW LEVEL SECURITY")
    execute("CREATE POLICY p ON base USING (id > 1) WITH CHECK (true)")
    execute("CREATE VIEW item WITH (security_invoker) AS SELECT * FROM base")
    few = role(execute, settings, "GRANT ALL ON item, base TO {}",
               f"GRANT CREATE ON DATABASE {settings.dbname} TO {{}}")  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"row-level security policy for table \"base\"") as caught:
        loads.merge(PostgresDestination(few), (1, "a"), (2, "b"))
    assert "BYPASSRLS" in caught.value.hint
    assert execute("SELECT count(*) FROM base") == [(0,)]
