"""What capture="wal" refuses, and the statement that it asks somebody to run, which then helps."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager

import psycopg2
import pytest

from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, TransientError
from servers.postgres import PostgresServer
from tests.connectors.postgres.test_wal_sync import WAL, equal
from tests.contract.duckdb_at_work import DuckdbAtWork
from tests.contract.world import CREATE, World


def refused(world, match: str, **more) -> ConfigurationError:
    with pytest.raises(ConfigurationError, match=match) as caught:
        world.sync(**{**WAL, **more})
    return caught.value


def changes(source, capture=None, **more):
    asked = extraction(stream="s", source_table="public.item", **{**WAL, "capture": capture or "wal", **more})
    return source.changes(asked, None)


def test_a_server_without_a_logical_log(tmp_path):
    with PostgresServer({"wal_level": "replica"}) as server, server.database() as dbname:
        settings = PostgresSettings(
            host=server.host, port=server.port, dbname=dbname, user=server.user, password=Secret(server.password)
        )
        with pytest.raises(ConfigurationError, match="wal_level=replica") as caught, changes(PostgresSource(settings)):
            pass
        assert "ALTER SYSTEM SET wal_level = logical" in caught.value.hint


@pytest.fixture
def reader(world):
    """A role that may read the table and nothing else."""
    world.run_at_source(CREATE)
    name = f"reader_{world.dbname}"
    world.run_at_source(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT SELECT ON item TO {name}")
    settings = PostgresSettings(
        host=world.server.host, port=world.server.port, dbname=world.dbname, user=name, password=Secret("secret")
    )
    yield PostgresSource(settings), name
    for (slot,) in world.run_at_source(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    ):
        world.run_at_source("SELECT pg_drop_replication_slot(%s)", slot)
    world.run_at_source(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_the_statements_it_asks_for_are_the_ones_that_help(world, reader):
    source, _ = reader
    with pytest.raises(ConfigurationError, match="may not read the log") as caught, changes(source):
        pass
    world.run_at_source(re.search(r"ALTER ROLE \S+ REPLICATION", caught.value.hint)[0])
    with pytest.raises(ConfigurationError, match="denied for database") as caught, changes(source):
        pass
    world.run_at_source(re.search(r"CREATE PUBLICATION .*?\)(?=;)", caught.value.hint)[0])
    with changes(source) as found:
        assert found.complete
        assert sum(batch.num_rows for stream in found.streams for batch in stream) == 9


def test_what_a_dba_made_before_is_used(world, reader):
    source, role = reader
    world.run_at_source(f"ALTER ROLE {role} REPLICATION; CREATE PUBLICATION shop FOR TABLE item")
    world.run_at_source("SELECT pg_create_logical_replication_slot('shop_slot', 'pgoutput')")
    capture = {"wal": {"slot": "shop_slot", "publication": "shop"}}
    with changes(source, capture) as found:
        list(found.streams[0])
        position = found.position
    world.run_at_source("DELETE FROM item WHERE id = 1; REVOKE SELECT ON item FROM PUBLIC")
    asked = extraction(stream="s", source_table="public.item", **{**WAL, "capture": capture})
    with source.changes(asked, position) as found:
        assert [len(list(stream)) for stream in found.streams] == [0]
        assert [batch.to_pylist() for batch in found.deletes[0]] == [[{"id": 1, "_elt_op": "d"}]]


def test_a_table_that_the_owner_has_to_add(world, reader):
    source, role = reader
    world.run_at_source("CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION shop FOR TABLE other")
    world.run_at_source(f"ALTER ROLE {role} REPLICATION")
    shop = {"wal": {"slot": "shop", "publication": "shop"}}
    with pytest.raises(ConfigurationError, match="must be owner of publication") as caught, changes(source, shop):
        pass
    world.run_at_source(re.search(r"ALTER PUBLICATION .*?(?=;)", caught.value.hint)[0])
    with changes(source, {"wal": {"slot": "shop", "publication": "shop"}}) as found:
        list(found.streams[0])


def test_a_heartbeat_that_is_not_allowed_is_left_out(world, reader):
    source, role = reader
    world.run_at_source(f"ALTER ROLE {role} REPLICATION; CREATE PUBLICATION shop FOR TABLE item")
    functions = [row[0] for row in world.run_at_source(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'pg_logical_emit_message'")]  # fmt: skip
    for function in functions:
        world.run_at_source(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    capture = {"wal": {"slot": f"s_{world.dbname}", "publication": "shop"}}
    with changes(source, capture) as found:
        list(found.streams[0])
        position = found.position
    asked = extraction(stream="s", source_table="public.item", **{**WAL, "capture": capture})
    with source.changes(asked, position) as found:
        assert "no heartbeat: GRANT EXECUTE" in "; ".join(found.notes)


@pytest.mark.parametrize(
    ("ddl", "match", "hint"),
    [
        ("CREATE TABLE item (id int, name text)", "no key", "REPLICA IDENTITY FULL alone is no key"),
        ("CREATE TABLE item (id int PRIMARY KEY); ALTER TABLE item REPLICA IDENTITY NOTHING", "lacks the key",
         "ALTER TABLE item REPLICA IDENTITY DEFAULT"),
        (("CREATE TABLE item (id int PRIMARY KEY, other int NOT NULL UNIQUE); "
          "ALTER TABLE item REPLICA IDENTITY USING INDEX item_other_key"),
         r"\(other\) lacks the key \(id\)", "DEFAULT"),
        ("CREATE TABLE item (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL)", "which is computed",
         r"exclude_columns=\['twice'\]"),
        ("CREATE TABLE item (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE item WHERE (id > 5)",
         r"only some rows .* \(id > 5\)", "without WHERE"),
        ("CREATE TABLE item (id int PRIMARY KEY, v int); CREATE PUBLICATION p FOR TABLE item (id)",
         "does not tell column 'v'", r"exclude_columns=\['v'\]"),
        ("CREATE TABLE item (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE item WITH (publish = 'insert')",
         "not tell every update and delete and truncate", "SET .publish = 'insert, update, delete, truncate'"),
        ("CREATE VIEW item AS SELECT 1 AS id", "no table", "fingerprint"),
        ("CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE child () INHERITS (item)", "children", "one by one"),
        ("CREATE TABLE item (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE PUBLICATION p FOR TABLE item",
         "as those of its partitions", "publish_via_partition_root = true"),
        (("CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY LIST (id); "
          "CREATE TABLE item PARTITION OF whole DEFAULT; "
          "CREATE PUBLICATION p FOR TABLE whole WITH (publish_via_partition_root)"), "as its own", "partitioned table"),
    ],
)  # fmt: skip
def test_tables_and_publications_that_tell_too_little(world, ddl, match, hint):
    world.run_at_source(ddl)
    capture = {"wal": {"slot": "p", "publication": "p"}}
    error = refused(world, match, capture=capture, primary_key=["id"] if "VIEW" in ddl else None)
    assert re.search(hint, error.hint)
    assert not world.run_at_source("SELECT FROM pg_replication_slots WHERE database = current_database()")


def test_a_replica_identity_by_index_that_has_the_key(world):
    world.run_at_source("CREATE TABLE item (id int NOT NULL UNIQUE, name text, amount int, code int PRIMARY KEY)")
    world.run_at_source(
        "ALTER TABLE item REPLICA IDENTITY USING INDEX item_id_key; INSERT INTO item VALUES (1, 'a', 1, 9)"
    )
    world.sync(**WAL, primary_key=["id"])
    world.run_at_source("UPDATE item SET id = 2; INSERT INTO item VALUES (3, 'c', 3, 3)")
    world.sync(**WAL, primary_key=["id"])
    equal(world)


def test_a_stored_computed_column_is_told_since_postgres_18(world):
    world.run_at_source(
        "CREATE TABLE item (id int PRIMARY KEY, name int, amount int GENERATED ALWAYS AS (id * 2) STORED)"
    )
    world.sync(**WAL)
    world.run_at_source("INSERT INTO item VALUES (4, 1)")
    world.sync(**WAL)
    equal(world)


def test_row_security(world, reader):
    source, role = reader
    world.run_at_source(f"ALTER ROLE {role} REPLICATION; CREATE PUBLICATION shop FOR TABLE item")
    world.run_at_source("ALTER TABLE item ENABLE ROW LEVEL SECURITY")
    shop = {"wal": {"slot": "shop", "publication": "shop"}}
    with pytest.raises(ConfigurationError, match="the log hides none") as caught, changes(source, shop):
        pass
    assert "BYPASSRLS" in caught.value.hint


def test_a_slot_of_another_plugin_or_database(world):
    world.run_at_source(CREATE)
    world.run_at_source("SELECT pg_create_logical_replication_slot('s_test', 'test_decoding')")
    error = refused(world, "belongs to plugin 'test_decoding'", capture={"wal": {"slot": "s_test"}})
    assert "another name" in error.hint


def test_a_slot_that_somebody_reads(world):
    from psycopg2.extras import LogicalReplicationConnection

    world.run_at_source(CREATE)
    world.sync(**WAL)
    name = world.run_at_source("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")[0][0]
    job = world.job(**WAL)
    object.__setattr__(job.source._settings, "lock_timeout", 0.5)
    with closing(replicating(world, LogicalReplicationConnection)) as other:
        cursor = other.cursor()
        cursor.start_replication(slot_name=name, options={"proto_version": "1", "publication_names": name})
        with pytest.raises(TransientError, match="is being read by process"):
            job.execute()
    world.sync(**WAL)


def replicating(world, factory):
    return psycopg2.connect(world.server.dsn(world.dbname), connection_factory=factory)


@contextmanager
def writing(world, statement: str):
    """Keep a transaction open that has written; gives its process."""
    with closing(world.server.connect(world.dbname)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        yield connection.info.backend_pid


def kept_waiting(world) -> TransientError:
    """Sync in vain; gives the error."""
    world.lock_timeout = 0.5
    with pytest.raises(TransientError) as caught:
        world.sync(**WAL)
    assert world.run_at_source("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [
        (0,)
    ]
    return caught.value


def test_a_transaction_that_keeps_the_slot_from_being_made(world):
    """It is named, so that somebody can end it; what it runs is nobody's business."""
    world.run_at_source(CREATE)
    with writing(world, "INSERT INTO item VALUES (77, 'open')") as process:
        error = kept_waiting(world)
    assert f"process {process} goes on (user {world.server.user}, database {world.dbname}, idle in" in error.message
    assert "open for " in error.message
    assert "INSERT" not in str(error)
    assert f"SELECT pg_terminate_backend({process})" in error.hint
    world.sync(**WAL)
    equal(world)


def test_a_role_that_may_see_no_more_learns_which_process_it_is(world, reader):
    source, role = reader
    world.run_at_source(f"CREATE PUBLICATION shop FOR TABLE item; ALTER ROLE {role} REPLICATION")
    object.__setattr__(source._settings, "lock_timeout", 0.5)
    with (
        writing(world, "INSERT INTO item VALUES (77, 'open')") as process,
        pytest.raises(TransientError, match=f"process {process} goes on"),
        changes(source, {"wal": {"publication": "shop"}}),
    ):
        pass


def test_a_prepared_transaction_that_keeps_the_slot_from_being_made(tmp_path):
    with PostgresServer({"max_prepared_transactions": 2}) as server, server.database() as dbname:
        world = World(server, dbname, tmp_path, DuckdbAtWork(tmp_path / "warehouse.duckdb"))
        world.run_at_source(CREATE)
        with closing(server.connect(dbname)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("BEGIN; DELETE FROM item WHERE id = 1; PREPARE TRANSACTION 'left behind'")
            error = kept_waiting(world)
            assert "prepared transaction 'left behind' goes on" in error.message
            cursor.execute(re.search(r"ROLLBACK PREPARED '.*?'", error.hint)[0])


def test_a_table_that_is_not_there(world):
    world.run_at_source(CREATE)
    world.table = "public.itme"
    assert "did you mean" in refused(world, "no table").hint
