"""MariaDB as a source: one snapshot, bounded memory, names, faults."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from airflow_elt_provider.connectors.mysql.settings import MySqlSettings
from airflow_elt_provider.connectors.mysql.source import MySqlSource
from airflow_elt_provider.core.capture import Cursor
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, TransientError
from servers.fault_proxy import FaultProxy

pytestmark = pytest.mark.heavy

OF_T = Extraction(stream="s", table=TableRef(("t",)))


# --- what is read ---


def test_one_snapshot(sql, settings):
    sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_1000")
    with MySqlSource(settings).changes(OF_T, None) as changes:
        sql("DELETE FROM t WHERE id > 10")
        assert sum(batch.num_rows for stream in changes.streams for batch in stream) == 1000


def test_a_table_that_is_read_is_not_altered(sql, settings, mariadb_server, dbname):
    sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", "SET lock_wait_timeout = 1")
    with MySqlSource(settings).changes(OF_T, None) as changes:
        with pytest.raises(Exception, match="Lock wait timeout"):
            sql("ALTER TABLE t ADD COLUMN n int")
        assert [batch.num_rows for stream in changes.streams for batch in stream] == [1]
    sql("ALTER TABLE t ADD COLUMN n int")


def test_names_keys_and_choices(sql, read, dbname):
    sql(
        "CREATE TABLE `a``b 日本` (id int, `Name ``x` varchar(9) NOT NULL, `%s` int NOT NULL)",
        "ALTER TABLE `a``b 日本` ADD UNIQUE (`Name ``x`, `%s`)",
        "INSERT INTO `a``b 日本` VALUES (1, 'x', 2)",
    )
    found = read(f'{dbname}."a`b 日本"', rename={"%s": "percent"})
    assert found.changes.schema.primary_key == ("Name `x", "percent")
    assert found.changes.schema.key_enforced
    assert found.rows == [{"id": 1, "Name `x": "x", "percent": 2}]
    assert read('"a`b 日本"', columns=("%s",), where="`%s` > 1 -- really").rows == [{"%s": 2}]


def test_a_key_must_be_whole_and_not_null(sql, read):
    sql("CREATE TABLE t (a varchar(99) NOT NULL, b int, UNIQUE (b), UNIQUE (a(10)))")
    assert read().changes.schema.primary_key == ()


def test_a_view_a_query_and_the_list_of_tables(sql, read, settings, dbname):
    sql("CREATE TABLE b (id int)", "CREATE TABLE a (id int)", "CREATE VIEW v AS SELECT 1 AS id")
    assert read("v").ids == [1]
    assert read(query="SELECT 2 AS id;").ids == [2]
    assert [str(table) for table in MySqlSource(settings).tables(dbname)] == [f"{dbname}.a", f"{dbname}.b"]
    with pytest.raises(ConfigurationError, match="There is no database 'nowhere'"):
        MySqlSource(settings).tables("nowhere")
    with pytest.raises(ConfigurationError, match="name of its own"):
        read(query="SELECT 1 AS id, 2 AS id")


def test_an_engine_without_snapshots_is_told(sql, read):
    sql("CREATE TABLE t (id int) ENGINE = MyISAM")
    assert "engine MyISAM keeps no snapshots" in read().notes
    assert "one stream" in read(parallelism=4).notes


def test_another_database_of_the_same_name_is_refused(sql, read, settings):
    sql("CREATE TABLE t (id int PRIMARY KEY, at datetime)")
    position = read(capture=Cursor("at")).position
    elsewhere = MySqlSource(replace(settings, identity="another server"))
    with pytest.raises(ConfigurationError, match="checkpoint was written with source"):
        read(since=position, capture=Cursor("at"), source=elsewhere)


def test_many_rows_in_little_memory(sql, settings):
    sql("CREATE TABLE t AS SELECT seq AS id, repeat('x', 1000) AS v FROM seq_1_to_40000")
    with MySqlSource(settings).changes(OF_T, None) as changes:
        largest = rows = 0
        for batch in changes.streams[0]:
            largest, rows = max(largest, batch.nbytes), rows + batch.num_rows
    assert rows == 40000
    assert largest < 8 << 20


# --- whoever stops early ---


def running(mariadb_server):
    with closing(mariadb_server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT info FROM information_schema.processlist WHERE info LIKE '%%sleep(%%' AND id <> connection_id()"
        )
        return cursor.fetchall()


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_cancel_stops_what_runs(settings, mariadb_server):
    source, failures = MySqlSource(settings), []

    def read():
        try:
            with source.changes(Extraction(stream="s", query="SELECT 1 AS a, sleep(30) AS b"), None) as changes:
                list(changes.streams[0])
        except TransientError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    wait_for(lambda: running(mariadb_server))
    source.cancel()
    thread.join(10)
    wait_for(lambda: not running(mariadb_server))
    # MariaDB answers a killed sleep() with 1 instead of an error: what counts is that nothing runs on.
    assert not thread.is_alive()


def test_whoever_stops_early_leaves_nothing_behind(sql, settings, mariadb_server, dbname):
    sql("CREATE TABLE t AS SELECT seq AS id, repeat('x', 1000) AS v FROM seq_1_to_30000")
    source = MySqlSource(settings)
    with source.changes(OF_T, None) as changes:
        assert next(changes.streams[0]).num_rows
    begun = time.monotonic()
    wait_for(lambda: sql("SELECT count(*) FROM information_schema.processlist WHERE db = database()") == [(1,)])
    assert time.monotonic() - begun < 5


def test_a_killed_connection_is_transient(sql, settings):
    sql("CREATE TABLE t AS SELECT seq AS id, repeat('x', 1000) AS v FROM seq_1_to_30000")
    with MySqlSource(settings).changes(OF_T, None) as changes:
        next(changes.streams[0])
        for (thread,) in sql(
            "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
        ):
            sql(f"KILL {thread}")
        with pytest.raises(TransientError, match=r"lost|killed"):
            list(changes.streams[0])


def test_a_line_that_breaks_is_transient(sql, mariadb_server, settings):
    sql("CREATE TABLE t AS SELECT seq AS id, repeat('x', 1000) AS v FROM seq_1_to_30000")
    with FaultProxy(mariadb_server.port) as proxy:
        broken = replace(settings, port=proxy.port, ssl_mode="DISABLED")
        with MySqlSource(broken).changes(OF_T, None) as changes:
            next(changes.streams[0])
            proxy.close()
            with pytest.raises(TransientError):
                list(changes.streams[0])


# --- logging in ---


@pytest.mark.parametrize(
    ("change", "kind", "hint"),
    [
        ({"password": Secret("wrong secret")}, ConfigurationError, "check user and password"),
        ({"database": "nowhere"}, ConfigurationError, "check the connection's database"),
        ({"host": "no.such.host.invalid"}, (ConfigurationError, TransientError), "check"),
        ({"port": 1}, TransientError, "check host and port"),
        ({"ssl_ca": "/nowhere/ca.pem"}, ConfigurationError, "check ssl_ca"),
        ({"ssl_ca": "", "ssl_mode": "VERIFY_CA"}, ConfigurationError, "ssl_mode"),
    ],
    ids=str,
)
def test_why_there_is_no_session(settings, change, kind, hint):
    with pytest.raises(kind, match=hint) as error:
        MySqlSource(replace(settings, **change)).tables("x")
    assert "wrong secret" not in str(error.value)


@pytest.mark.parametrize("mode", ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])
def test_tls_as_the_mode_says(settings, read, mode):
    how = replace(settings, ssl_mode=mode, ssl_ca=settings.ssl_ca if mode.startswith("VERIFY") else "")
    source = MySqlSource(how)
    query = "SELECT VARIABLE_VALUE AS v FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_VERSION'"
    (version,) = read(query=query, source=source).column("v")
    assert version.startswith("TLS") is (mode != "DISABLED")


def test_another_name_is_another_server(settings):
    with pytest.raises(ConfigurationError, match="certificate"):
        MySqlSource(replace(settings, host="127.0.0.2")).tables("x")


def test_a_server_that_says_nothing(settings):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        begun = time.monotonic()
        with pytest.raises(TransientError):
            MySqlSource(replace(settings, port=silent.getsockname()[1], connect_timeout=0.5)).tables("x")
        assert time.monotonic() - begun < 5


def test_a_server_without_tls(settings):
    from servers.mariadb import MariaDbServer

    with MariaDbServer(tls=False) as server:
        plain = MySqlSettings.parse(server.parts())
        assert MySqlSource(plain).tables("mysql")
        with pytest.raises(ConfigurationError, match="ssl_mode"):
            MySqlSource(replace(plain, ssl_mode="REQUIRED")).tables("mysql")


# --- what is not there, and what is not allowed ---


def test_names_that_are_not_there(sql, read, dbname):
    sql("CREATE TABLE actor (id int, name text)")
    for table in ("actors", "Actor", f"{dbname}.acto"):
        with pytest.raises(ConfigurationError, match=rf"There is no table .*did you mean '{dbname}.actor'"):
            read(table)
    with pytest.raises(ConfigurationError, match="There is no table"):
        read("nowhere.actor")
    with pytest.raises(ConfigurationError, match="too many parts"):
        read("a.b.c")
    with pytest.raises(ConfigurationError, match="did you mean 'name'"):
        read("actor", columns=("nam",))
    with pytest.raises(ConfigurationError, match=r"Unknown column 'nope' .*\(error 1054\)"):
        read("actor", where="nope = 1")
    with pytest.raises(ConfigurationError, match="check the SQL"):
        read("actor", where="((")


def test_the_grant_that_is_missing(sql, settings, mariadb_server, dbname):
    sql("CREATE TABLE t (id int)", "CREATE TABLE u (id int)")
    mariadb_server.execute(
        "CREATE OR REPLACE USER 'poor'@'%' IDENTIFIED BY 'p w'", f"GRANT SELECT ON {dbname}.u TO 'poor'@'%'"
    )
    source = MySqlSource(replace(settings, user="poor", password=Secret("p w")))
    with pytest.raises(ConfigurationError, match=f"GRANT SELECT ON `{dbname}`.`t` TO 'poor'@"):
        source.changes(OF_T, None).__enter__()
    mariadb_server.execute(f"GRANT SELECT ON {dbname}.t TO 'poor'@'%'")
    with source.changes(OF_T, None) as changes:
        assert not list(changes.streams[0])


def test_a_lock_is_waited_for_so_long(sql, settings, mariadb_server, dbname):
    sql("CREATE TABLE t (id int)")
    with closing(mariadb_server.connect(dbname)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES t WRITE")
        with pytest.raises(TransientError, match="lock_timeout"):
            MySqlSource(replace(settings, lock_timeout=1)).changes(OF_T, None).__enter__()


def test_a_statement_that_takes_too_long(settings, read):
    slow = MySqlSource(replace(settings, statement_timeout=0.2))
    with pytest.raises(TransientError, match="statement_timeout"):
        read(query="SELECT count(*) AS n FROM seq_1_to_100000 a, seq_1_to_100000 b", source=slow)
