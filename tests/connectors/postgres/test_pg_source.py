"""What is read, from what, in parallel, and what happens when it goes wrong."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psycopg2
import pytest

from airflow_elt_provider.connectors.postgres import copy_stream, session
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.capture import Cursor
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError
from servers.certificates import Authority
from servers.fault_proxy import FaultProxy
from servers.tls import TlsFront

FILES = Path("/proc/self/fd")
ODD = [
    'A "quoted" name',
    "Ünïcode 日本語",
    "per%cent %s %(x)s",
    "semi;colon--",
    "sp  ace",
    "select",
    "a" * 63,
    "it's",
    "a.b",
    "back\\slash",
]


def of(table="t", **parameters):
    return Extraction(stream="s", table=TableRef.parse(table), **parameters)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def big(sql):
    """Forty thousand rows in about six megabytes."""
    sql("CREATE TABLE t (id int PRIMARY KEY, pad text)",
        "INSERT INTO t SELECT i, repeat(md5(i::text), 4) FROM generate_series(1, 40000) i")  # fmt: skip
    return set(range(1, 40001))


@pytest.fixture
def no_leaks(sql):
    """Afterwards no thread, file descriptor or session of ours is left."""
    threads, files = threading.active_count(), len(list(FILES.iterdir()))
    yield
    mine = """SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'airflow-elt-provider' AND datname = current_database()"""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (
        threading.active_count() > threads or len(list(FILES.iterdir())) > files or sql(mine) != [(0,)]
    ):
        time.sleep(0.05)
    assert threading.active_count() <= threads
    assert len(list(FILES.iterdir())) <= files
    assert sql(mine) == [(0,)]


# --- names, columns and keys ---


def test_odd_names(sql, read):
    for name in ODD:
        schema, key = quoted("s " + name[:60]), quoted(name)
        sql(f"CREATE SCHEMA {schema}",
            f"CREATE TABLE {schema}.{key} ({key} int PRIMARY KEY, {quoted('x' + name[:62])} text)",
            f"INSERT INTO {schema}.{key} VALUES (1, 'a%s')")  # fmt: skip
        found = read(f"{schema}.{key}", where=f"{key} = 1 AND {quoted('x' + name[:62])} LIKE 'a%'")
        assert found.rows == [{name: 1, "x" + name[:62]: "a%s"}]
        assert found.changes.schema.primary_key == (name,)
        assert read(f"{schema}.{key}", capture=Cursor(name)).rows == found.rows
        assert read(None, query=f"SELECT * FROM {schema}.{key} WHERE 'a%' LIKE '%a%'").rows == found.rows


def test_columns_and_names_of_the_target(sql, read):
    sql("CREATE TABLE t (a int, gone int, b int, c int GENERATED ALWAYS AS (a * 2) STORED, d int)",
        "ALTER TABLE t DROP gone",
        "INSERT INTO t (a, b, d) VALUES (1, 2, 3)")  # fmt: skip
    assert read().rows == [{"a": 1, "b": 2, "c": 2, "d": 3}]
    found = read(columns=("d", "a", "b"), exclude_columns=("b",), rename={"a": "Ä"})
    assert [list(row.items()) for row in found.rows] == [[("d", 3), ("Ä", 1)]]
    assert found.position.columns == ("d", "a")
    assert found.position.columns_seen == 5


@pytest.mark.parametrize(("parameters", "said"), [
    ({"columns": ("Id",)}, "columns names column 'Id'.*did you mean 'id'"),
    ({"exclude_columns": ("x",)}, "exclude_columns"), ({"rename": {"x": "y"}}, "rename"),
    ({"column_types": {"x": "int"}}, "column_types"), ({"primary_key": ("x",)}, "primary_key"),
    ({"primary_key": ("id",), "exclude_columns": ("id",)}, "not among the columns that are read"),
    ({"rename": {"id": "name"}}, "would both be named 'name'"), ({"columns": ()}, "no column to read"),
    ({"where": "nope = 1"}, "nope"), ({"where": "id ="}, "syntax error"),
    ({"where": "id = 'x'"}, "invalid input syntax"),
])  # fmt: skip
def test_parameters_that_do_not_fit(sql, read, parameters, said):
    sql("CREATE TABLE t (id int, name text)")
    with pytest.raises(ConfigurationError if "'x'" not in str(parameters.get("where")) else DataError, match=said):
        read(**parameters)


@pytest.mark.parametrize(("ddl", "key", "enforced"), [
    ("(a int, b int, PRIMARY KEY (b, a))", ("b", "a"), True),
    ("(a int, b int, PRIMARY KEY (b) DEFERRABLE INITIALLY DEFERRED)", ("b",), True),
    ("(a int NOT NULL, b int NOT NULL, UNIQUE (a, b), UNIQUE (b))", ("b",), True),
    ("(a int NOT NULL, b int NOT NULL, UNIQUE (a) INCLUDE (b))", ("a",), True),
    ("(a int UNIQUE, b int)", (), False),
    ("(a int NOT NULL, b int, EXCLUDE USING btree (a WITH =))", (), False),
    ("(a int NOT NULL UNIQUE DEFERRABLE, b int)", (), False),
])  # fmt: skip
def test_keys(sql, read, ddl, key, enforced):
    sql(f"CREATE TABLE t {ddl}", "CREATE UNIQUE INDEX ON t (a) WHERE a > 0", "CREATE UNIQUE INDEX ON t ((a + 1))")
    schema = read(rename={"b": "B"} if "b" not in key else {}).changes.schema
    assert (schema.primary_key, schema.key_enforced) == (key, enforced)


def test_a_chosen_key_is_enforced_only_by_the_source(sql, read):
    sql("CREATE TABLE t (a int PRIMARY KEY, b int)")
    assert read(primary_key=("a", "b")).changes.schema.key_enforced
    assert not read(primary_key=("b",)).changes.schema.key_enforced
    without = read(exclude_columns=("a",))
    assert without.changes.schema.primary_key == ()
    assert "(a)" in without.notes
    assert read(rename={"a": "z"}).changes.schema.primary_key == ("z",)


# --- what can be read ---


def test_every_kind_of_relation(sql, read, postgres_server, dbname):
    sql("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM t", "CREATE TABLE child (extra int) INHERITS (t)",
        "INSERT INTO child VALUES (2, 'b', 3)", "CREATE TABLE nothing ()",
        "CREATE TABLE p (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)", "INSERT INTO p VALUES (1, 'a')")  # fmt: skip
    assert read("public.t").ids == [1, 2]
    assert not read("t").changes.schema.key_enforced  # a child may have the same key
    assert read("v").rows == [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
    assert read("m").ids == [1]
    assert read("p").changes.schema.primary_key == ("id",)
    assert read(f"{dbname}.public.p").ids == [1]
    assert read(None, query="SELECT 1 AS id; ").ids == [1]
    with pytest.raises(ConfigurationError, match="no column to read"):
        read("nothing")
    with pytest.raises(ConfigurationError, match="neither a table nor a view"):
        read("t_pkey")
    with pytest.raises(ConfigurationError, match="choose the database"):
        read("other.public.p")
    assert [table.name for table in PostgresSource(_settings(postgres_server, dbname)).tables("public")] == [
        "child",
        "m",
        "nothing",
        "p",
        "t",
    ]


def test_foreign_tables(sql, read, postgres_server, dbname):
    try:
        sql("CREATE EXTENSION postgres_fdw")
    except psycopg2.Error as error:
        pytest.skip(f"this server has no postgres_fdw: {error}")
    sql("CREATE TABLE t (id int, at timestamptz)", "INSERT INTO t VALUES (1, '2024-01-01')",
        "CREATE SERVER me FOREIGN DATA WRAPPER postgres_fdw "
        f"OPTIONS (host '127.0.0.1', port '{postgres_server.port}', dbname '{dbname}')",
        f"CREATE USER MAPPING FOR CURRENT_USER SERVER me OPTIONS (user 'elt', password '{postgres_server.password}')",
        "CREATE FOREIGN TABLE f (id int, at timestamptz) SERVER me OPTIONS (table_name 't')")  # fmt: skip
    found = read("f", capture=Cursor("at"), parallelism=2)
    assert found.ids == [1]
    assert "foreign table" in found.notes
    assert read("f", capture=Cursor("at"), since=found.position).rows == []


def test_a_query_with_one_name_twice(read):
    with pytest.raises(ConfigurationError, match="two columns named 'a'"):
        read(None, query="SELECT 1 AS a, 2 AS a")


def test_identity(sql, read, postgres_server, dbname):
    sql("CREATE TABLE t (id int)")
    system = sql("SELECT system_identifier FROM pg_control_system()")[0][0]
    assert read("t").position.source == f'{system}/{dbname}/"public"."t"' == read("public.t").position.source
    assert read(None, query="TABLE t").position.source == f"{system}/{dbname}/query"
    sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", *_reader("reader", "GRANT SELECT ON t TO reader"))
    found = read(
        source=PostgresSource(replace(_settings(postgres_server, dbname), user="reader", password=Secret("pw")))
    )
    assert found.position.source == f'/{dbname}/"public"."t"'
    sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC", "DROP OWNED BY reader", "DROP ROLE reader")


def test_tables_of_a_schema(sql, settings):
    sql('CREATE SCHEMA "Raw"')
    assert PostgresSource(settings).tables("Raw") == []
    with pytest.raises(ConfigurationError, match="did you mean 'Raw'"):
        PostgresSource(settings).tables("raw")


def test_row_security_is_told(sql, read, settings):
    sql("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (2)", "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY one ON t USING (id = 1)", *_reader("masked", "GRANT SELECT ON t TO masked"))  # fmt: skip
    found = read(source=PostgresSource(replace(settings, user="masked", password=Secret("pw"))))
    assert found.ids == [1]
    assert "row security" in found.notes
    sql("DROP OWNED BY masked", "DROP ROLE masked")


def _settings(server, dbname):
    return PostgresSettings.parse(psycopg2.extensions.parse_dsn(server.dsn(dbname)))


def _reader(name, *grants):
    return (f"CREATE ROLE {name} LOGIN PASSWORD 'pw'", *grants)


# --- several streams ---


def _drain(settings, extraction, **positions):
    with PostgresSource(settings).changes(extraction, None, **positions) as changes, ThreadPoolExecutor(8) as pool:
        drained = list(pool.map(list, changes.streams))
    return changes, [[row for batch in stream for row in batch.to_pylist()] for stream in drained]


@pytest.mark.parametrize("parallelism", [2, 3])
def test_ranges_are_the_whole_table(big, settings, parallelism, no_leaks):
    _, streams = _drain(settings, of(parallelism=parallelism, where="id > 10"))
    ids = [row["id"] for stream in streams for row in stream]
    assert len(streams) == parallelism
    assert min(len(stream) for stream in streams) > 40000 / parallelism * 0.8
    assert sorted(ids) == sorted(big - set(range(11)))


def test_ranges_of_partitions(sql, settings):
    sql("CREATE TABLE p (id int, pad text) PARTITION BY LIST (id)", "CREATE TABLE p0 PARTITION OF p DEFAULT",
        "CREATE TABLE p1 (pad text, id int)", "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1)",
        "INSERT INTO p SELECT CASE WHEN i % 4 = 0 THEN 1 ELSE i END, repeat('x', 100) FROM generate_series(1, 30000) i",
        *_reader("parent_only", "GRANT SELECT ON p TO parent_only"))  # fmt: skip
    mine = replace(settings, user="parent_only", password=Secret("pw"))  # without a right on any partition
    _, streams = _drain(mine, of("p", parallelism=2))
    assert sorted(row["id"] for stream in streams for row in stream) == sorted(
        row[0] for row in sql("SELECT id FROM p")
    )
    assert all(len(stream) > 12000 for stream in streams)
    plan = sql("EXPLAIN SELECT * FROM p WHERE ctid >= '(10,0)' AND ctid < '(20,0)'")
    assert "Tid Range Scan" in str(plan)
    sql("DROP OWNED BY parent_only", "DROP ROLE parent_only")


def test_ranges_see_one_snapshot(big, settings, sql):
    with PostgresSource(settings).changes(of(parallelism=2), None) as changes:
        sql("UPDATE t SET pad = ''", "INSERT INTO t VALUES (0, '')")
        rows = [row for stream in changes.streams for batch in stream for row in batch.to_pylist()]
    assert {row["id"] for row in rows} == big
    assert all(len(row["pad"]) == 128 for row in rows)


def test_one_stream_and_a_note_where_there_are_no_ranges(sql, read, big):
    sql("CREATE VIEW v AS TABLE t")
    for found in (read("v", parallelism=2), read(None, query="TABLE t", parallelism=2)):
        assert len(found.changes.streams) == 1
        assert "one stream" in found.notes
    sql("CREATE TABLE small AS SELECT 1 AS id")
    assert len(read("small", parallelism=4).changes.streams) == 1


# --- one transaction ---


def test_ddl_waits_and_writers_do_not(big, settings, sql, postgres_server, dbname):
    with PostgresSource(settings).changes(of(), None) as changes:
        sql("UPDATE t SET pad = 'x' WHERE id = 1", "SET lock_timeout = '200ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            sql("ALTER TABLE t ADD c int")
        assert {row for batch in changes.streams[0] for row in batch.column("id").to_pylist()} == big
    sql("ALTER TABLE t ADD c int")


def test_a_lock_that_somebody_holds(big, settings, postgres_server, dbname):
    holder = postgres_server.connect(dbname)
    holder.cursor().execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    with (
        pytest.raises(TransientError, match="lock_timeout"),
        PostgresSource(replace(settings, lock_timeout=0.2)).changes(of(), None),
    ):
        pass
    holder.close()


# --- faults ---


def test_a_connection_killed_half_way(big, settings, postgres_server, no_leaks):
    with FaultProxy(postgres_server.port) as proxy:
        proxied = replace(settings, port=proxy.port)
        for how in ("rst", "fin"):
            proxy.down.cut_after, proxy.down.cut_how = 3 << 20, how
            with (
                pytest.raises(TransientError, match="connection was lost"),
                PostgresSource(proxied).changes(of(), None) as changes,
            ):
                list(changes.streams[0])
        proxy.heal()
        assert len(_drain(proxied, of())[1][0]) == len(big)


def test_a_session_ended_by_the_server(big, settings, sql, monkeypatch, no_leaks):
    with PostgresSource(settings).changes(of(where="pg_sleep(0.001) IS NOT NULL"), None) as changes:
        killer = threading.Timer(0.3, sql, ["""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE query LIKE 'COPY%' AND datname = current_database()"""])  # fmt: skip
        killer.start()
        with pytest.raises(TransientError):
            list(changes.streams[0])
        killer.join()


def test_an_error_in_the_middle_of_the_rows(big, settings):
    with (
        pytest.raises(DataError, match="division by zero"),
        PostgresSource(settings).changes(of(where="1 / (id - 39999) < 9"), None) as changes,
    ):
        list(changes.streams[0])


def test_cancel_from_another_thread(big, settings, no_leaks):
    source = PostgresSource(settings)
    source.cancel()  # nothing runs
    with (
        source.changes(of(where="pg_sleep(1) IS NOT NULL", parallelism=2), None) as changes,
        ThreadPoolExecutor(2) as pool,
    ):
        drained = [pool.submit(list, stream) for stream in changes.streams]
        time.sleep(0.5)
        started = time.monotonic()
        source.cancel()
        for future in drained:
            with pytest.raises(TransientError, match="cancel"):
                future.result()
        assert time.monotonic() - started < 3
    assert len(_drain(settings, of())[1][0]) == len(big)


def test_whoever_stops_early_leaves_nothing_behind(sql, settings, no_leaks):
    sql(
        "CREATE TABLE t (id int, pad text)",
        "INSERT INTO t SELECT i, repeat('x', 2000) FROM generate_series(1, 20000) i",
    )
    for _ in range(2):
        with PostgresSource(settings).changes(of(parallelism=2), None) as changes:
            assert sum(batch.num_rows for batch in islice(changes.streams[0], 1)) > 0
    with pytest.raises(KeyError), PostgresSource(settings).changes(of(), None) as changes:  # noqa: PT012
        next(changes.streams[0])
        raise KeyError
    with PostgresSource(settings).changes(of(parallelism=2), None):
        pass


def test_a_silent_server_does_not_hold_whoever_stops(sql, settings, postgres_server, no_leaks, monkeypatch):
    sql("CREATE TABLE t AS SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i")
    monkeypatch.setattr(session, "CANCEL_SECONDS", 0.5)
    with FaultProxy(postgres_server.port) as proxy:
        with pytest.raises(KeyError), PostgresSource(replace(settings, port=proxy.port)).changes(of(), None) as changes:  # noqa: PT012
            proxy.down.cut_after, proxy.down.cut_how = 10 << 20, "hang"
            next(changes.streams[0])
            raise KeyError
        proxy.drop_all()


# --- messages ---


def test_messages(sql, settings, read):
    sql("CREATE TABLE actor (id int)", "CREATE SCHEMA closed", "CREATE TABLE closed.t (id int)",
        "CREATE TABLE hidden (id int)",
        *_reader("guest"))  # fmt: skip
    guest = PostgresSource(replace(settings, user="guest", password=Secret("pw")))
    for table, parameters, said in [
        ("public.actors", {}, "no table public.actors.*did you mean 'public.actor'"),
        ("Actor", {}, "did you mean 'public.actor'"),
        ("publik.actor", {}, "did you mean 'public.actor'"), ("hidden", {"source": guest}, "GRANT SELECT ON hidden TO"),
        ("closed.t", {"source": guest}, "GRANT USAGE ON SCHEMA closed"),
        (None, {"query": "SELECT * FROM nope"}, "nope.*42P01"),
    ]:  # fmt: skip
        with pytest.raises(ConfigurationError, match=said):
            read(table, **parameters)
    sql("DROP ROLE guest")


@pytest.mark.parametrize(("wrong", "kind", "said"), [
    ({"password": Secret("wr0ngsecret")}, ConfigurationError, "password"),
    ({"user": "nobody"}, ConfigurationError, "user"),
    ({"dbname": "nodb"}, ConfigurationError, 'database "nodb" does not exist'),
    ({"host": "nohost.invalid"}, (ConfigurationError, TransientError), "host"),
    ({"port": 1}, TransientError, "host and port"),
    ({"options": {"sslmode": "require"}}, ConfigurationError, "sslmode"),
])  # fmt: skip
def test_connections_that_cannot_be(settings, wrong, kind, said):
    with pytest.raises(EltError, match=said) as error, PostgresSource(replace(settings, **wrong)).changes(of(), None):
        pass
    assert isinstance(error.value, kind)
    assert "wr0ngsecret" not in str(error.value) + repr(error.value.__cause__)
    assert settings.password.reveal() not in str(error.value) + repr(settings)


def test_a_refused_certificate(settings, postgres_server, tmp_path, sql, read):
    sql("CREATE TABLE t (id int)")
    authority = Authority.create(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = Authority.create(tmp_path / "other", "Other CA")
    certificate = authority.issue("localhost", ["127.0.0.1"])
    with TlsFront(postgres_server.port, certificate) as front:

        def verified(root):
            options = {"sslmode": "verify-full", "sslrootcert": str(root)}
            return PostgresSource(replace(settings, port=front.port, options=options))

        assert read(source=verified(authority.certificate)).rows == []
        with pytest.raises(ConfigurationError, match=r"certificate verify failed.*sslrootcert"):
            read(source=verified(stranger.certificate))


def test_too_many_connections(settings, sql, postgres_server, dbname):
    sql(*_reader("few"), "ALTER ROLE few CONNECTION LIMIT 1")
    mine = replace(settings, user="few", password=Secret("pw"))
    held = psycopg2.connect(postgres_server.dsn(dbname, user="few", password="pw"))
    with pytest.raises(TransientError, match="too many connections"), PostgresSource(mine).changes(of(), None):
        pass
    held.close()
    sql("DROP ROLE few")


# --- blocks ---


class Pieces:
    def __init__(self, data, size):
        self.data, self.size, self.at = data, size, 0

    def read(self, limit):
        piece = self.data[self.at : self.at + min(limit, self.size)]
        self.at += len(piece)
        return piece


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_blocks_end_where_rows_end(monkeypatch, size):
    monkeypatch.setattr(copy_stream, "BLOCK_BYTES", 16)
    rows = [
        b'1,"a\nb"\n',
        b"2,x\n",
        b'3,"\n""\n\n"""\n',
        b'4,""\n',
        b"\n",
        b'5,"' + b'""\n' * 30 + b'"\n',
        b'6,"""\n"""\n',
    ] * 3
    blocks = list(copy_stream.whole_rows(Pieces(b"".join(rows), size), lambda: None))
    assert b"".join(blocks) == b"".join(rows)
    ends = {sum(map(len, rows[: at + 1])) for at in range(len(rows))}
    at = 0
    for block in blocks:
        at += len(block)
        assert at in ends
    assert len(blocks) > 3


def test_append_and_replace_read_the_same_way(big, read):
    assert set(read(mode=WriteMode.REPLACE).ids) == big
    assert read(mode=WriteMode.APPEND).changes.complete
