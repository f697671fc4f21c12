"""The statements that Snowflake itself gets, to the letter: the emulator understands more, and less, than Snowflake.

`golden.sql` has them under their names; `ELT_WRITE_GOLDEN=1` writes it anew, for the eyes of a reviewer.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import sqlglot

from airflow_elt_provider.connectors.snowflake import catalog, locations, staging
from airflow_elt_provider.connectors.snowflake.dialect import SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.locations import Location
from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.evolve import evolve
from airflow_elt_provider.core.history_sql import HistorySql
from airflow_elt_provider.core.merge_sql import MergeSql
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.schema import TableSchema
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.staged_file import Role, StagedFile
from tests.connectors.staged_loads import Loads, column

GOLDEN = Path(__file__).with_name("golden.sql")
DIALECT = SnowflakeDialect("raw", "public")
COLUMNS = [
    column("id bigint"), column("note text"), column("amount decimal(12,2)"), column("seen timestamptz"),
    column("doc jsonb"), column("raw bytea"),
    column("tags text", format="array", source_type="text[]"),
    column("sizes text", format="array", source_type="integer[]"),
]  # fmt: skip
LOAD_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    loads = Loads(tmp_path_factory.mktemp("golden"), "dvd.rental", columns=COLUMNS)
    made = loads.make((1, None, None, None, None, None, None, None, None), load_id=LOAD_ID, deletes="soft",
                      complete=True)  # fmt: skip
    return replace(made, staging="STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF")


def statements(load):
    types = {each.name: DIALECT.column_type(each) for each in COLUMNS} | {"_elt_deleted_at": DIALECT.timestamp_type}
    sql, hard = MergeSql(DIALECT, load, types), MergeSql(DIALECT, _hard(load), types)
    name = load.staging.removeprefix("STAGING_")
    yield "checkpoint, made with its row", DIALECT.checkpoint_table("pg.rental->it's")
    yield "receipts", DIALECT.receipts_table()
    yield "our schema", DIALECT.create_schema(DIALECT.own_schema)
    yield "target", evolve(DIALECT, load, None).ddl[0]
    options = {"cluster_by": ["seen"], "transient": True, "data_retention_days": 1}
    yield "target with options", DIALECT.create_table(load.target, [("id", "NUMBER(19,0)")], ("id",), options)
    yield "column", DIALECT.add_column(load.target, "colour", "VARCHAR")
    yield from numbered("in place", DIALECT.alter_type(load.target, "amount", "NUMBER(12,2)", "NUMBER(20,2)"))
    yield from numbered("retype", DIALECT.alter_type(load.target, "it's", "NUMBER(12,2)", "NUMBER(20,4)"))
    yield from numbered("retype json", DIALECT.alter_type(load.target, "doc", "VARIANT", "VARCHAR"))
    yield from numbered("retype, finished", DIALECT.unfinished(load.target, "it's", "NUMBER(12,2)", "NUMBER(20,4)"))
    yield from numbered("retype, begun anew", DIALECT.unfinished(load.target, "it's", "NUMBER(12,2)", ""))
    yield "clustering", catalog.show(DIALECT, load.target)
    yield "staging table", staging.create(DIALECT, load, name)
    for what, where in places().items():
        yield f"copy {what}", next(staging.copies(DIALECT, name, where))[0]
    yield "internal stage", locations.create_internal(DIALECT)
    yield "remove", locations.remove(DIALECT, name)
    yield "drop", staging.drop(DIALECT, load.staging)
    yield "lock", DIALECT.lock_stream("s")
    yield "compare and set", DIALECT.move_checkpoint("s")
    yield "compare", sql.compare()
    yield "soft delete", sql.delete_gone()
    yield "hard delete", hard.delete_gone()
    yield "merge", sql.merge()
    yield "nulled", sql.nulled(COLUMNS[3:4])
    yield "lossy", sql.lossy(COLUMNS[2])
    texts = MergeSql(DIALECT, load, types | {"doc": "VARCHAR(9)", "tags": "VARCHAR"})
    yield "json into text", texts.insert(only_new=False)
    yield "json into frozen text", texts.lossy(COLUMNS[4])
    yield from changes(load)
    yield from history(load)
    yield "sync log", DIALECT.sync_log()
    yield "receipt", DIALECT.insert_receipt()
    for each in COLUMNS:
        yield f"backfill {each.name}", sql.backfill(each.name)


def changes(load):
    """A load with rows that lack a column, keys that are gone, and the keys of a changed bucket."""
    staged = tuple(StagedFile("x", "", 2, 1, role, ("_elt_op",)) for role in (Role.UPSERT, Role.KEYSET))
    schema = TableSchema((column("id bigint"), column("note text")), ("id",), key_enforced=True)
    types = {"id": "NUMBER(19,0)", "note": "VARCHAR", "_elt_deleted_at": DIALECT.timestamp_type}

    def sql(buckets):
        manifest = replace(
            load.manifest, complete=False, schema=schema, files=staged, unchanged=(("note",),), buckets=buckets
        )
        return MergeSql(DIALECT, replace(load, manifest=manifest), types)

    ranges, named = sql(Buckets(BucketKind.RANGE, ("id",), 64)), sql(None)
    yield "orphans", named.count_orphans()
    yield "merge without what did not change", named.merge()
    yield "named keys", named.count_gone()
    yield "absent from their range", ranges.delete_gone()
    yield "absent from what md5 says", sql(Buckets(BucketKind.MD5, ("id", "note"), 4)).delete_gone()


def history(load):
    """A load whose rows bring their times, some without a column, and deletes."""
    extra = ("_elt_op", "_elt_valid_from")
    staged = tuple(StagedFile("x", "", 2, 1, role, extra) for role in (Role.UPSERT, Role.DELETE))
    schema = TableSchema((column("id bigint"), column("note text")), ("id",), key_enforced=True)
    manifest = replace(
        _hard(load).manifest, complete=False, schema=schema, files=staged, unchanged=(("note",),), as_of="2026-01-05",
        mode=WriteMode.HISTORY,
    )  # fmt: skip
    own = dict.fromkeys(("_elt_valid_from", "_elt_valid_to"), "TIMESTAMP_TZ(9)")
    types = {"id": "NUMBER(19,0)", "note": "VARCHAR", **own, "_elt_is_current": "BOOLEAN"}
    sql = HistorySql(DIALECT, replace(load, manifest=manifest), types)
    yield "history, counted", sql.count_versions()
    yield "history, orphans", sql.count_orphans()
    yield "history, new versions", sql.insert_versions()
    yield "history, corrected versions", sql.correct_versions()
    yield "history, ends", sql.move_ends()


def _hard(load):
    from airflow_elt_provider.core.modes import DeleteMode

    return replace(load, manifest=replace(load.manifest, deletes=DeleteMode.HARD))


def numbered(name, several):
    return ((f"{name} {number}", sql) for number, sql in enumerate(several, 1))


def places():
    keys = {"AWS_KEY_ID": Secret("AKIA"), "AWS_SECRET_KEY": Secret("s'\\"), "AWS_TOKEN": Secret("t")}
    files = ("s-0/part-00000.parquet", "it's.parquet")
    return {
        "from a named stage": Location('@"RAW"."LOADING"."BUCKET"', files),
        "with an integration": Location("'s3://company-elt/prod/' STORAGE_INTEGRATION = \"ELT\"", files),
        "with keys": Location("'s3://company-elt/prod/'", files, keys),
        "from inside": Location(f"@{locations.internal_stage(DIALECT)}/2026_0_1/", ("part-00000.parquet",)),
    }


def test_the_statements_are_these(load):
    """And every one of them is Snowflake's SQL to another parser, too."""
    made = dict(statements(load))
    text = "".join(f"-- {name}\n{sql};\n\n" for name, sql in made.items())
    if os.environ.get("ELT_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    known = dict(re.findall(r"-- (.*?)\n(.*?);\n\n", GOLDEN.read_text(), re.DOTALL))
    assert made == known
    for name, sql in made.items():
        if not name.startswith("remove"):
            parsed = sqlglot.parse_one(sql, read="snowflake")
            assert not isinstance(parsed, sqlglot.exp.Command) or "EXECUTE IMMEDIATE" in sql, name


def test_files_are_named_a_thousand_at_a_time():
    where = Location("'s3://b/'", tuple(f"f{number}" for number in range(2001)))
    counts = [sql.count("'f") for sql, _ in staging.copies(DIALECT, "X", where)]
    assert counts == [1000, 1000, 1]


def test_a_bucket_of_google_needs_a_stage_or_an_integration():
    class Stage:
        root, scheme = "gs://company-elt/prod", "gs"

    settings = SnowflakeSettings(account="a", database="raw")
    from airflow_elt_provider.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match=r"elt_stage.*elt_storage_integration"):
        locations.location(None, DIALECT, settings, Stage(), [])
    found = locations.location(None, DIALECT, replace(settings, storage_integration="elt"), Stage(), [])
    assert found.source == "'gcs://company-elt/prod/' STORAGE_INTEGRATION = \"ELT\""


def test_names_in_full():
    from airflow_elt_provider.core.table_ref import TableRef

    names = {text: DIALECT.table(TableRef.parse(text)) for text in ("t", "s.t", "d.s.t", '"Käse ""x""".ß')}
    assert names == {
        "t": '"RAW"."PUBLIC"."T"', "s.t": '"RAW"."S"."T"', "d.s.t": '"D"."S"."T"',
        '"Käse ""x""".ß': '"RAW"."KäSE ""X"""."ß"',
    }  # fmt: skip
    assert SnowflakeDialect("raw", exact=True).table(TableRef.parse("s.t")) == '"raw"."s"."t"'
