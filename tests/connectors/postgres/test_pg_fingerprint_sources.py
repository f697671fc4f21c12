"""Fingerprint capture of other relations, by other roles, and after what makes row versions worthless."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

import pytest

from airflow_elt_provider.errors import ConfigurationError, DataError, SchemaDriftError
from tests.connectors.postgres.mirrors import MERGE, Elsewhere, Mirror

pytestmark = pytest.mark.parametrize("mirror", ["duckdb"], indirect=True)
"""Nothing of this is a matter of the destination."""

# --- other relations ---


def test_partitions_that_are_attached_detached_and_truncated(mirror):
    mirror.sql(
        "CREATE TABLE t (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
        "CREATE TABLE p1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
        "CREATE TABLE p2 PARTITION OF t FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');"
        "CREATE TABLE p3 (LIKE t INCLUDING ALL);"
        "INSERT INTO t SELECT g, date '2024-01-01' + g % 60, 'v' FROM generate_series(1, 2000) g;"
        "INSERT INTO p3 SELECT g, date '2024-03-05', 'old' FROM generate_series(1, 500) g"
    )
    mirror.check()
    mirror.sql(
        "UPDATE t SET day = '2024-02-20' WHERE id = 31; DELETE FROM t WHERE id = 32; UPDATE t SET v = 'w' WHERE id = 40"
    )
    result = mirror.check()
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 2)
    mirror.sql("ALTER TABLE t ATTACH PARTITION p3 FOR VALUES FROM ('2024-03-01') TO ('2024-04-01')")
    result = mirror.check()
    assert (result.extracted, result.inserted) == (500, 500)
    mirror.sql("UPDATE t SET v = 'w' WHERE id = 41; ALTER TABLE t DETACH PARTITION p2")
    assert mirror.check(max_delete_ratio=1).deleted > 900
    mirror.sql("TRUNCATE p1")
    assert mirror.check(max_delete_ratio=1).deleted > 900
    assert mirror.check().extracted == 0


def test_a_view_and_a_materialized_view_are_compared_by_content(mirror):
    mirror.sql(
        "CREATE TABLE base (id int PRIMARY KEY, v numeric(10,2), j json);"
        "INSERT INTO base SELECT g, g, json_build_object('a', g) FROM generate_series(1, 1000) g;"
        "CREATE VIEW t AS SELECT id, v, j::text AS j FROM base"
    )
    with pytest.raises(ConfigurationError, match="primary_key"):
        mirror.sync()
    key = {"primary_key": ["id"]}
    mirror.check(**key)
    assert mirror.check(**key).extracted == 0
    mirror.sql(
        "UPDATE base SET v = 5.10 WHERE id = 5; DELETE FROM base WHERE id = 500; INSERT INTO base VALUES (2000, 1)"
    )
    result = mirror.check(**key)
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 1)
    assert result.extracted < 250
    mirror.sql("DROP VIEW t; CREATE MATERIALIZED VIEW t AS SELECT id, v FROM base WHERE id > 3")
    result = mirror.check("id, v", **key)
    assert (result.inserted, result.updated, result.deleted) == (0, 0, 3)
    with pytest.raises(ConfigurationError, match="by='content'"):
        mirror.sync(**key, capture={"fingerprint": {"by": "xmin"}})


def test_a_foreign_table_is_compared_by_content(mirror):
    server = mirror.world.server
    mirror.sql(
        "CREATE TABLE far (id uuid PRIMARY KEY, v text);"
        "INSERT INTO far SELECT md5(g::text)::uuid, 'v' || g FROM generate_series(1, 500) g;"
        "CREATE EXTENSION postgres_fdw;"
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS "
        f"(host '{server.host}', port '{server.port}', dbname '{mirror.world.dbname}');"
        f"CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user '{server.user}', password '{server.password}');"
        "CREATE FOREIGN TABLE t (id uuid, v text) SERVER far OPTIONS (table_name 'far')"
    )
    key = {"primary_key": ["id"]}
    mirror.check(**key)
    mirror.sql("UPDATE far SET v = 'w' WHERE v = 'v7'; DELETE FROM far WHERE v IN ('v8', 'v9')")
    result = mirror.check(**key)
    assert (result.updated, result.deleted) == (1, 2)
    assert mirror.check(**key).extracted == 0


# --- roles ---


@pytest.mark.parametrize("grant", ["GRANT pg_read_all_data TO {0}", "GRANT SELECT ON t TO {0}"])
@pytest.mark.parametrize("ask", [True, False])
def test_a_role_with_least_privileges(table, grant, ask):
    world, role = table.world, f"reader_{uuid.uuid4().hex[:8]}"
    table.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'; {grant.format(role)}")
    if not ask:
        for function in (
            "pg_control_system()",
            "pg_control_checkpoint()",
            "pg_walfile_name(pg_lsn)",
            "pg_current_wal_insert_lsn()",
        ):
            table.sql(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    try:
        reader = Mirror(replace(world, server=Elsewhere(world.server, role), target="raw.other"))
        reader.check()
        table.sql("UPDATE t SET v = 'w' WHERE id = 7; DELETE FROM t WHERE id = 8")
        result = reader.check()
        assert (result.extracted, result.deleted) == (1, 1)
        assert reader.check().extracted == 0
    finally:
        table.sql(f"DROP OWNED BY {role}; REVOKE pg_read_all_data FROM {role}; DROP ROLE {role}")


@pytest.fixture
def reader(table):
    """The same target of a role that may only read."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    table.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON t TO {role}")
    yield Mirror(replace(table.world, server=Elsewhere(table.world.server, role), target="raw.other"))
    table.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_row_security_stops_a_load_that_deletes(table, reader):
    role = reader.world.server.user
    reader.check()
    table.sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t USING (n > 0)")
    for full_refresh in (False, True):
        with pytest.raises(ConfigurationError, match=f'"t".*hides rows from role .*{role}.*BYPASSRLS'):
            reader.sync(full_refresh=full_refresh)
    assert len(reader.world.target_rows("id")) == 10000
    reader.sync(deletes="ignore")
    table.sql(f"ALTER ROLE {role} BYPASSRLS; DELETE FROM t WHERE id = 7")
    assert reader.check().deleted == 1
    table.sql(f"REVOKE SELECT ON t FROM {role}")
    with pytest.raises(ConfigurationError, match="permission"):
        reader.sync()


@pytest.mark.parametrize("parameters", [{}, {"capture": "full"}, {"capture": "full", "mode": "history"},
                                        {"capture": "full", "mode": "replace", "deletes": "ignore"},
                                        {"capture": "cursor", "cursor_column": "n", "interval": ("-4000", "6000"),
                                         "mode": "append", "deletes": "ignore"}])  # fmt: skip
def test_row_security_below_a_view_stops_a_load_that_deletes(table, reader, parameters):
    if table.sql("SHOW server_version_num")[0][0] < "150000":
        pytest.skip("views of the invoker came with PostgreSQL 15")
    table.sql(
        f"ALTER TABLE t RENAME TO b; CREATE VIEW t WITH (security_invoker = true) AS SELECT * FROM b; "
        f"GRANT SELECT ON b, t TO {reader.world.server.user}"
    )
    assert reader.sync(primary_key=["id"], **parameters).inserted == 10000
    table.sql("ALTER TABLE b ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON b USING (n > 0)")
    with pytest.raises(ConfigurationError, match=r'table "b".* Row security hides'):
        reader.sync(primary_key=["id"], **parameters)
    assert len(reader.world.target_rows("id")) == 10000


# --- keys that are NULL ---


@pytest.mark.parametrize("key", [["k"], ["i"], ["k", "i"], ["d"]])
@pytest.mark.parametrize("table_kind", ["VIEW", "TABLE"])
def test_rows_whose_key_is_null_are_refused_or_set_aside(mirror, key, table_kind):
    mirror.sql(
        "CREATE TABLE b (k text, i int, d numeric, v text);"
        "INSERT INTO b SELECT 'k' || g, g, g, 'v' FROM generate_series(1, 100) g;"
    )
    mirror.sql("CREATE VIEW t AS SELECT * FROM b" if table_kind == "VIEW" else "ALTER TABLE b RENAME TO t")
    mirror.check(primary_key=key)
    mirror.sql("INSERT INTO t VALUES (NULL, NULL, NULL, 'null'); DELETE FROM t WHERE i = 7")
    with pytest.raises(DataError, match="NULL in the key"):
        mirror.sync(primary_key=key)
    result = mirror.sync(primary_key=key, max_quarantined_rows=3)
    assert (result.quarantined, result.deleted) == (1, 1)
    mirror.same(where="i IS NOT NULL")
    mirror.sql("UPDATE t SET v = 'w' WHERE i = 8")
    assert mirror.sync(primary_key=key, max_quarantined_rows=3).updated == 1
    mirror.sql("DELETE FROM t WHERE i IS NULL")
    mirror.check(primary_key=key)


# --- another epoch ---


def test_a_table_made_anew_is_compared_whole(table):
    table.sql(
        "CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u SELECT * FROM t WHERE id <> 5; DROP TABLE t; "
        "ALTER TABLE u RENAME TO t; UPDATE t SET v = 'w' WHERE id = 6"
    )
    result = table.check()
    assert (result.extracted, result.inserted, result.updated, result.deleted) == (9999, 0, 1, 1)
    assert table.check().extracted == 0


OTHER_EPOCHS = {
    "timeline": ("made anew|restored or promoted", 10000),
    "server": ("major version", 10000),
    "database": ("made anew", 10000),
    "relation": ("made anew", 10000),
    "boot": ("started anew", 256),
}


@pytest.mark.parametrize("part", list(OTHER_EPOCHS))
@pytest.mark.parametrize("by", ["xmin", "content"])
def test_another_epoch_is_never_silence(table, part, by, caplog):
    caplog.set_level("INFO")
    capture = {"fingerprint": {"by": by}}
    table.sync(capture=capture)
    table.rewrite_epoch(part)
    table.sql("UPDATE t SET v = 'w' WHERE id = 7; DELETE FROM t WHERE id = 8")
    result = table.check(capture=capture)
    message, rows = OTHER_EPOCHS[part]
    assert (result.updated, result.deleted) == (1, 1)
    if by == "content" and part != "server":
        assert result.extracted <= 256
        return
    assert re.search(message, caplog.text)
    assert result.extracted <= rows
    assert result.extracted > 1


@pytest.mark.parametrize(
    ("moved", "message"), [(-(1 << 31), "row versions can count"), (1 << 20, "behind the last load")]
)
def test_transactions_out_of_reach(table, moved, message, caplog):
    caplog.set_level("INFO")
    table.rewrite_position(xmin=lambda xmin: xmin + moved)
    table.sql("UPDATE t SET v = 'w' WHERE id = 7; DELETE FROM t WHERE id = 8")
    result = table.check()
    assert (result.extracted, result.updated, result.deleted) == (9999, 1, 1)
    assert message in caplog.text


def test_an_old_snapshot_is_renewed_although_nothing_changed(table):
    table.rewrite_position(xmin=lambda xmin: xmin - 200_000_000)
    before = table.world.job(**MERGE).destination.checkpoint("public.t->raw.t").position
    assert table.check().extracted == 0
    after = table.world.job(**MERGE).destination.checkpoint("public.t->raw.t").position
    assert after.snapshot.xmin > before.snapshot.xmin + 100_000_000


def test_a_state_file_that_is_gone_means_reading_everything(table, caplog):
    caplog.set_level("INFO")
    stage = table.world.stage()
    stage.delete([file.uri for file in stage.list("_state")])
    table.sql("UPDATE t SET v = 'w' WHERE id = 7; DELETE FROM t WHERE id = 8")
    result = table.check()
    assert (result.extracted, result.updated, result.deleted) == (9999, 1, 1)
    assert "state file" in caplog.text


def test_another_server_is_refused(table, tmp_path):
    table.rewrite_position(source=lambda source: "12" + source)
    with pytest.raises(ConfigurationError, match="source"):
        table.sync()


def test_an_upgraded_server_is_compared_whole(table):
    table.rewrite_epoch("server")
    table.rewrite_epoch("system")
    table.rewrite_position(source=lambda source: "12" + source)
    table.sql("UPDATE t SET v = 'w' WHERE id = 7; DELETE FROM t WHERE id = 8")
    result = table.check()
    assert (result.extracted, result.updated, result.deleted) == (9999, 1, 1)


def test_a_second_row_of_a_key_that_nothing_guards_is_refused(mirror):
    mirror.sql("CREATE TABLE t (id int, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 500) g")
    loose = {**MERGE, "primary_key": ["id"]}
    mirror.check(**loose)
    mirror.sql("INSERT INTO t VALUES (7, 'twin')")
    with pytest.raises(DataError, match="keys appear more than once"):
        mirror.sync(**loose)
    mirror.sql("DELETE FROM t WHERE v = 'twin'; UPDATE t SET v = 'w' WHERE id = 8")
    assert mirror.check(**loose).updated == 1


def test_a_key_that_became_another_number_at_the_source_deletes_nothing_else(mirror):
    mirror.sql(
        "CREATE TABLE t (a numeric(20,2), b text, v int, PRIMARY KEY (a, b)); "
        "INSERT INTO t SELECT g, 'k', g FROM generate_series(1, 1000) g"
    )
    mirror.check("b, v", **MERGE)
    mirror.sql("ALTER TABLE t ALTER a TYPE bigint; DELETE FROM t WHERE a = 5")
    with pytest.raises(SchemaDriftError, match="one key could be written in two ways"):
        mirror.sync(**MERGE)


def test_a_target_that_holds_the_key_as_another_number_loses_nothing_else(mirror):
    mirror.sql(
        "CREATE TABLE t (a int, b text, v int, PRIMARY KEY (a, b)); "
        "INSERT INTO t SELECT g, 'k', g FROM generate_series(1, 1000) g"
    )
    mirror.world.destination.run("CREATE SCHEMA raw")
    mirror.world.destination.run(f"CREATE TABLE {mirror.world.name} (a DECIMAL(20,2), b VARCHAR, v INTEGER)")
    mirror.check("b, v", **MERGE)
    for gone in (5, 6):
        mirror.sql(f"DELETE FROM t WHERE a = {gone}")
        assert mirror.check("b, v", **MERGE).deleted == 1
