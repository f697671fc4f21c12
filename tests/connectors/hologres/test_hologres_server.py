"""The emulator: what it refuses, and that its transactions are Hologres'."""

from __future__ import annotations

import io

import psycopg2
import pytest

from servers.hologres_sql import examine
from servers.hologres_statement import RefusalError

V2 = (2, 2, 14)


@pytest.fixture
def run(instance, dbname):
    connection = instance.connect(dbname, options="-c TimeZone=UTC")
    connection.autocommit = True

    def execute(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else cursor.rowcount

    execute("CREATE TABLE t (id int, at timestamptz, v text NOT NULL, PRIMARY KEY (id))")
    execute.connection = connection
    yield execute
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
        "LOCK TABLE t IN SHARE MODE",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "DECLARE c CURSOR FOR SELECT 1",
        "BEGIN ISOLATION LEVEL READ COMMITTED",
        "SET LOCAL work_mem = '1GB'",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_catalog.float8send(1.0)",
        'SELECT v COLLATE "C" FROM t',
        "SELECT 1 FROM t FOR UPDATE",
        "CREATE TEMP TABLE x (a int)",
        "CREATE UNLOGGED TABLE x (a int)",
        "CREATE INDEX ON t (v)",
        "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TABLE x (a int UNIQUE)",
        "CREATE TABLE x (a int REFERENCES t)",
        "CREATE TABLE x (a int4range)",
        "CREATE TABLE x (a numeric)",
        "CREATE TABLE x (a numeric(39,2))",
        "CREATE TABLE x (a uuid[])",
        "CREATE TABLE x (a double precision, PRIMARY KEY (a))",
        "CREATE TABLE x (a numeric(10,0) PRIMARY KEY)",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS b int",
        "ALTER TABLE t ALTER COLUMN v TYPE varchar(9)",
        "ALTER TABLE t ADD CONSTRAINT u UNIQUE (v)",
        "COPY t FROM STDIN (FREEZE)",
        "COPY t FROM '/tmp/file'",
        "INSERT INTO t VALUES (1) RETURNING id",
        "SELECT 1; SELECT 2",
    ],
)
def test_what_hologres_lacks_is_refused(sql):
    with pytest.raises(RefusalError):
        examine(sql, V2)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'MERGE; COLLATE', \"LOCK; TABLE\" FROM t",
        "INSERT INTO t AS x (id) SELECT 1 ON CONFLICT (id) DO UPDATE SET v = excluded.v WHERE x.v IS DISTINCT FROM 'a'",
        "UPDATE t AS x SET v = s.v FROM s WHERE x.id = s.id",
        "CREATE TABLE x (a int[], b numeric(38,18), c bit varying(8), d timestamptz)",
        "ALTER TABLE t ADD COLUMN b text",
        "COPY t (id, v) FROM STDIN",
        "BEGIN",
        "DROP TABLE IF EXISTS t",
    ],
)
def test_what_hologres_has_passes(sql):
    examine(sql, V2)


def test_without_the_setting_a_rollback_brings_nothing_back(run):
    run("BEGIN")
    run("INSERT INTO t VALUES (1, now(), 'a')")
    run("ROLLBACK")
    assert run("SELECT id FROM t") == [(1,)]


def test_with_the_setting_it_does(run):
    run("SET hg_experimental_enable_transaction = on")
    run("BEGIN")
    run("INSERT INTO t VALUES (1, now(), 'a')")
    run("ROLLBACK")
    assert run("SELECT id FROM t") == []


def test_tables_that_a_transaction_reads_are_locked(run, instance, dbname):
    run("SET hg_experimental_enable_transaction = on")
    run("BEGIN")
    run("SELECT count(*) FROM t")
    other = instance.connect(dbname, options="-c lock_timeout=200")
    other.autocommit = True
    with other.cursor() as cursor:
        cursor.execute("SET hg_experimental_enable_transaction = on")
        cursor.execute("BEGIN")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            cursor.execute("SELECT count(*) FROM t")
        cursor.execute("ROLLBACK")
        cursor.execute("SELECT count(*) FROM t")  # one that only reads, outside of a transaction, does not wait
    run("COMMIT")
    other.close()


@pytest.mark.parametrize("enabled", [True, False])
def test_ddl_and_dml_do_not_mix(run, *, enabled):
    if enabled:
        run("SET hg_experimental_enable_transaction = on")
    run("BEGIN")
    run("CREATE TABLE x (a int)")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="INSERT in ddl transaction is not supported now"):
        run("INSERT INTO x VALUES (1)")
    run("ROLLBACK")
    run("BEGIN")
    run("INSERT INTO t VALUES (1, now(), 'a')")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        run("CREATE TABLE x (a int)")
    run("ROLLBACK")


def test_on_conflict_names_the_whole_key_which_stays_as_it_is(run):
    run("CREATE TABLE two (a int, b int, v int, PRIMARY KEY (a, b))")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="un-unique"):
        run("INSERT INTO two VALUES (1, 1, 1) ON CONFLICT (a) DO NOTHING")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="primary key"):
        run("UPDATE two SET b = 2")


def test_moments_are_cut_to_milliseconds(run):
    run("INSERT INTO t VALUES (1, '2024-01-01 00:00:00.123456Z', 'a')")
    assert run("SELECT at::text FROM t") == [("2024-01-01 00:00:00.123+00",)]
    assert run("SELECT pg_catalog.format_type(1184, 3)") == [("timestamp with time zone",)]


def test_properties_belong_to_the_creation(run, instance, dbname):
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="transaction of CREATE TABLE"):
        run("CALL set_table_property('t', 'orientation', 'row')")
    run("BEGIN")
    run('CREATE TABLE "My x" ("A" int NOT NULL, b text)')
    run("""CALL set_table_property('"My x"', 'clustering_key', '"A":desc')""")
    with pytest.raises(psycopg2.errors.UndefinedColumn):
        run("""CALL set_table_property('"My x"', 'clustering_key', 'b')""")
    run("ROLLBACK")
    run("CALL set_table_property('t', 'bitmap_columns', 'v:off')")
    assert instance.properties(dbname) == {("public", "t"): {"bitmap_columns": "v:off"}}


def test_a_statement_cancelled_in_a_transaction_is_remembered(run, instance):
    run("SET hg_experimental_enable_transaction = on")
    run("BEGIN")
    run("SET statement_timeout = 100")
    with pytest.raises(psycopg2.errors.QueryCanceled):
        run("INSERT INTO t SELECT g, now(), pg_sleep(1)::text FROM generate_series(1, 9) g")
    run("ROLLBACK")
    assert instance.proxy.leaked == ['"t"']
    instance.proxy.leaked.clear()


def test_copy_and_versions(run, instance, older, postgres):
    with run.connection.cursor() as cursor:
        cursor.copy_expert("COPY t (id, v) FROM STDIN", io.StringIO("1\ta\n2\tb\n"))
    assert run("SELECT count(*) FROM t") == [(2,)]
    assert run("SELECT hg_version()")[0][0].startswith("Hologres 2.2.14 (tag: 2.2.14")
    assert run.connection.server_version == 110003
    with older.database() as name:
        old = older.connect(name)
        with pytest.raises(psycopg2.errors.UndefinedObject), old.cursor() as cursor:
            cursor.execute("SET hg_experimental_enable_transaction = on")
        old.close()
