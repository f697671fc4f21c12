"""When the merge sets rows aside, when it does not, and what its file says."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_elt_provider.core.checks import NotNull, Sql, parse_check
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.merge import merge_load, stage_load
from airflow_elt_provider.engine.start import StreamState
from airflow_elt_provider.errors import ConfigurationError, DataError, QuarantineExceededError
from tests.contract.world import CREATE, MIRROR

CHECK = [Sql("amount >= 1", name="no small change", quarantine=True)]


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("quarantine not_null(a)", NotNull("a", quarantine=True)),
        (" quarantine  sql: a > 0 ", Sql("a > 0", quarantine=True)),
        ({"quarantine": "not_null(a)"}, NotNull("a", quarantine=True)),
        ({"quarantine": {"sql": "a > 0"}}, Sql("a > 0", quarantine=True)),
        ("sql: a > 0", Sql("a > 0")),
    ],
)
def test_spellings(text, check):
    assert parse_check(text) == check


@pytest.mark.parametrize("text", ["quarantine unique(a)", "quarantine row_count(min=1)", "quarantine", "quarantine a"])
def test_checks_that_look_at_no_single_row(text):
    with pytest.raises(ConfigurationError, match="check"):
        parse_check(text)


def test_a_log_sets_nothing_aside(world):
    """What a later change of such a row does not repeat would be lost."""
    world.run_at_source(CREATE)
    wal = {"capture": "wal", "mode": "merge", "checks": CHECK, "max_quarantined_rows": 9}
    with pytest.raises(DataError, match="2 violations"):
        world.sync(**wal)
    world.run_at_source("UPDATE item SET amount = 1 WHERE amount < 1")
    assert world.sync(**wal).inserted == 9


def test_extract_and_merge_share_the_limit(world):
    """Rows that could not be read count with those that could not be merged."""
    world.run_at_source(f"{CREATE}; UPDATE item SET name = CASE id WHEN 9 THEN 'nine' ELSE id::text END")
    wanted = {**MIRROR, "checks": CHECK, "column_types": {"name": "bigint"}}
    with pytest.raises(QuarantineExceededError, match=r"=2 rows cannot be taken: the extract set 1 aside.*small"):
        world.sync(max_quarantined_rows=2, **wanted)
    result = world.sync(max_quarantined_rows=3, **wanted)
    assert (result.quarantined, result.inserted) == (3, 6)
    world.run_at_source("DELETE FROM item WHERE id IN (1, 8)")
    result = world.sync(max_quarantined_rows=3, **wanted)
    assert (result.quarantined, result.deleted) == (2, 1)
    logged = world.destination.query("SELECT rows_quarantined FROM _elt.sync_log ORDER BY finished_at")
    assert [int(count) for (count,) in logged] == [3, 2]


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_raw_values(world):
    """As they were staged, bytes in hex, what the destination has no value for in the source's words."""
    world.run_at_source(CREATE)
    world.run_at_source(
        "ALTER TABLE item ADD raw bytea, ADD day date; DELETE FROM item WHERE id > 1; "
        r"UPDATE item SET raw = '\x00ff', day = '0044-03-15 BC', updated_at = '2024-01-02 03:04:05Z'"
    )
    world.sync(checks=CHECK, max_quarantined_rows=1, **MIRROR)
    (uri,) = (file.uri for file in world.stage().list() if "quarantine" in file.uri)
    (row,) = pq.read_table(pa.BufferReader(world.stage().read(uri))).to_pylist()
    values = json.loads(row.pop("row"))
    assert row == {"reason": "violates check no small change", "column": "", "place": "public.item"}
    assert values.pop("updated_at").startswith("2024-01-02 03:04:05")
    assert values == {
        "id": "1", "name": "name 1", "amount": "0.33", "tags": '{"a,b",NULL,"\\"q\\""}', "raw": "\\x00ff",
        "day": "0044-03-15 BC",
    }  # fmt: skip


@pytest.mark.parametrize("world", ["postgres"], indirect=True)
def test_a_row_too_many_for_a_staging_table_that_becomes_the_target(world):
    """It is a target of its own then, with its key, and the staging table is gone."""
    world.run_at_source(CREATE)
    job = world.job(checks=CHECK, max_quarantined_rows=2, **MIRROR)
    state = StreamState.read(job.destination, job.extraction, job.run)
    ref = Extract(job.extraction, job.run, job.source, job.stage, state).execute()
    staged = stage_load(ref, TableRef.parse(world.target), job.destination, job.stage)
    assert staged.staging.startswith("raw.")
    assert merge_load(staged, job.merging, job.destination, job.stage).quarantined == 2
    tables = world.destination.query("SELECT relname FROM pg_class WHERE relnamespace = 'raw'::regnamespace")
    assert sorted(tables) == [("item",), ("item_pkey",)]
