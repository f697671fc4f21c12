"""What every destination does, whatever it is: one body for all."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.core.request import merging
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.merge import merge_load, stage_load
from airflow_elt_provider.engine.start import StreamState
from airflow_elt_provider.errors import (
    ConfigurationError,
    DataError,
    DeleteRatioError,
    SchemaDriftError,
    StaleLoadError,
)
from tests.contract.world import APPEND, CHANGE, CREATE, MERGE, MIRROR, REPLACE, World

if TYPE_CHECKING:
    from airflow_elt_provider.core.manifest import ManifestRef
    from airflow_elt_provider.engine.sync import Sync

pytestmark = pytest.mark.lowest


@pytest.fixture(autouse=True)
def source_table(world: World) -> None:
    """Fill the source."""
    world.run_at_source(CREATE)


def counts(result: object) -> tuple[int, ...]:
    """Return extracted, inserted, updated, deleted."""
    return tuple(getattr(result, name) for name in ("extracted", "inserted", "updated", "deleted"))


# --- write modes ---


@pytest.mark.parametrize("parameters", [MERGE, APPEND, REPLACE, MIRROR], ids=["merge", "append", "replace", "mirror"])
def test_arrives_and_stays_exact(world: World, parameters: dict[str, Any]) -> None:
    """The first load brings everything, the target holds the source's very rows."""
    assert counts(world.sync(**parameters)) == (9, 9, 0, 0)
    assert world.target_rows() == world.source_rows()


def test_merge_applies_changes_and_then_rests(world: World) -> None:
    """Changed rows are updated, new ones inserted; a run with nothing new extracts and writes nothing."""
    world.sync(**MERGE)
    world.run_at_source(CHANGE)
    result = world.sync(**MERGE)
    assert counts(result)[1:] == (4, 2, 0)
    assert world.target_rows() == world.source_rows()
    before = world.destination.version_of(world.target)
    assert counts(world.sync(**MERGE)) == (0, 0, 0, 0)
    assert world.destination.version_of(world.target) == before


def test_mirror_deletes_what_is_gone(world: World) -> None:
    """A full load with deletes='hard' takes away the rows that are gone from the source."""
    world.sync(**MIRROR)
    world.run_at_source("DELETE FROM item WHERE id IN (1, 5)")
    assert counts(world.sync(**MIRROR)) == (7, 0, 0, 2)
    assert world.target_rows() == world.source_rows()


def test_soft_deletes_are_marked_and_undone(world: World) -> None:
    """deletes='soft' marks a row, and unmarks it when it comes back."""
    soft = {**MIRROR, "deletes": "soft"}
    world.sync(**soft)
    row = world.run_at_source("DELETE FROM item WHERE id = 4 RETURNING id, name, amount, updated_at")[0]
    assert counts(world.sync(**soft)) == (8, 0, 0, 1)
    assert world.target_rows("id", "_elt_deleted_at IS NOT NULL") == [("4",)]
    world.run_at_source("INSERT INTO item (id, name, amount, updated_at) VALUES (%s, %s, %s, %s)", *row)
    assert counts(world.sync(**soft))[1:] == (0, 1, 0)
    assert world.target_rows("id", "_elt_deleted_at IS NOT NULL") == []


def test_replace_follows_the_source_whole(world: World) -> None:
    """Replace inserts, updates and deletes, and an idle replace writes nothing."""
    world.sync(**REPLACE)
    world.run_at_source(CHANGE + "; DELETE FROM item WHERE id = 9")
    assert counts(world.sync(**REPLACE)) == (12, 4, 2, 1)
    assert world.target_rows() == world.source_rows()
    assert counts(world.sync(**REPLACE)) == (12, 0, 0, 0)


def test_replace_of_a_table_without_key(world: World) -> None:
    """A table without a key is exchanged whole, repeated rows included."""
    world.run_at_source("ALTER TABLE item DROP CONSTRAINT item_pkey; INSERT INTO item SELECT * FROM item WHERE id < 4")
    world.sync(**REPLACE)
    world.run_at_source("DELETE FROM item WHERE id = 8")
    assert counts(world.sync(**REPLACE)) == (11, 11, 0, 12)
    assert world.target_rows() == world.source_rows()


def test_append_reads_each_row_once(world: World) -> None:
    """Append takes new rows only, and stamps them with their load."""
    first = world.sync(**APPEND)
    world.run_at_source("INSERT INTO item (id, name, amount) SELECT g, 'new', g FROM generate_series(20, 24) g")
    second = world.sync(**APPEND)
    assert counts(second) == (5, 5, 0, 0)
    assert world.target_rows() == world.source_rows()
    loads = world.target_rows("_elt_load_id")
    assert sorted(set(loads)) == sorted([(first.load_id,), (second.load_id,)])


# --- every step twice; tasks apart ---


def steps(world: World, job: Sync) -> ManifestRef:
    """Extract only."""
    state = StreamState.read(job.destination, job.extraction, job.run)
    return Extract(job.extraction, job.run, job.source, job.stage, state).execute()


@pytest.mark.parametrize("parameters", [MERGE, APPEND, REPLACE], ids=["merge", "append", "replace"])
def test_every_step_twice_has_one_effect(world: World, parameters: dict[str, Any]) -> None:
    """Extract, stage and merge may each run twice, and a retried extract uses the manifest that is there."""
    job = world.job(**parameters)
    refs = [steps(world, job), steps(world, job)]
    assert refs[0].uri == refs[1].uri
    target = TableRef.parse(world.target)
    staged = [stage_load(ref, target, job.destination, job.stage) for ref in refs]
    results = [merge_load(one, job.merging, job.destination, job.stage) for one in [*staged, staged[0]]]
    assert [result.inserted for result in results] == [9, 9, 9]
    assert world.target_rows() == world.source_rows()
    assert world.destination.staging_tables() == []


def test_merge_takes_the_manifest_s_bare_uri(world: World) -> None:
    """A URI typed by hand is enough for stage and for merge."""
    job = world.job(**MERGE)
    from airflow_elt_provider.core.load import StagingRef
    from airflow_elt_provider.core.manifest import ManifestRef

    bare = ManifestRef(steps(world, job).uri)
    stage_load(bare, TableRef.parse(world.target), job.destination, job.stage)
    result = merge_load(StagingRef(bare, world.target, ""), job.merging, job.destination, job.stage)
    assert result.inserted == 9
    assert world.target_rows() == world.source_rows()


def test_a_finished_run_reads_nothing_again(world: World) -> None:
    """A retry of a run that was merged returns its receipt's counts, and rows of later runs stay theirs."""
    first = world.sync(run_id="monday", **APPEND)
    world.run_at_source("INSERT INTO item (id, name) VALUES (50, 'later')")
    again = world.sync(run_id="monday", **APPEND)
    assert (again.load_id, again.inserted) == (first.load_id, 9)
    assert len(world.target_rows()) == 9
    assert counts(world.sync(run_id="tuesday", **APPEND)) == (1, 1, 0, 0)


# --- twins, stale loads, lost files ---


def test_a_zombie_twin_merges_nothing(world: World) -> None:
    """Of two loads from one checkpoint the second is stale: refused, and nothing of it arrives."""
    one, two = world.job(**APPEND), world.job(**APPEND)
    target = TableRef.parse(world.target)
    staged = [stage_load(steps(world, job), target, job.destination, job.stage) for job in (one, two)]
    merge_load(staged[0], one.merging, one.destination, one.stage)
    with pytest.raises(StaleLoadError, match="no longer the current one"):
        merge_load(staged[1], two.merging, two.destination, two.stage)
    assert world.target_rows() == world.source_rows()


def test_two_copies_of_one_task_at_once(world: World) -> None:
    """The same run twice at the same time is one load."""
    jobs = [world.job(run_id="same", **APPEND) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(job.execute) for job in jobs]]
    assert results[0].load_id == results[1].load_id
    assert world.target_rows() == world.source_rows()
    assert counts(world.sync(**APPEND)) == (0, 0, 0, 0)


def test_sync_that_was_overtaken_extracts_again(world: World) -> None:
    """Several runs at once: each row arrives once."""
    jobs = [world.job(**APPEND) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = [future.result() for future in [pool.submit(job.execute) for job in jobs]]
    assert sum(result.inserted for result in results) == 9
    assert world.target_rows() == world.source_rows()


def test_files_that_are_gone_are_said_or_not_needed(world: World) -> None:
    """Without its files a load is refused, unless it was merged already."""
    job, target = world.job(**MERGE), TableRef.parse(world.target)
    ref = steps(world, job)
    staged = stage_load(ref, target, job.destination, job.stage)
    merge_load(staged, job.merging, job.destination, job.stage)
    files = [file.uri for file in job.stage.list()]
    job.stage.delete(files)
    assert merge_load(staged, job.merging, job.destination, job.stage).inserted == 9
    fresh = world.job(stream="another", **REPLACE)
    lost = steps(world, fresh)
    fresh.stage.delete([file.uri for file in fresh.stage.list()])
    with pytest.raises(DataError, match="gone from the stage"):
        stage_load(lost, target, fresh.destination, fresh.stage)


def test_a_retried_extract_does_not_trust_a_stale_manifest(world: World) -> None:
    """A manifest whose base checkpoint is history is made anew, under another name."""
    job = world.job(run_id="retry", **MERGE)
    old = steps(world, job)
    world.sync(**MERGE)
    new = steps(world, world.job(run_id="retry", **MERGE))
    assert old.uri != new.uri
    assert new.rows == 0


# --- clears, refreshes, backfills ---


def test_a_cleared_append_run_takes_the_place_of_its_rows(world: World) -> None:
    """After a clear the run appends what the source says now, once."""
    world.sync(run_id="monday", **APPEND)
    world.run_at_source("UPDATE item SET name = 'corrected' WHERE id = 3")
    result = world.sync(run_id="monday", generation=1, **APPEND)
    assert counts(result) == (9, 9, 0, 9)
    assert world.target_rows() == world.source_rows()
    assert counts(world.sync(**APPEND)) == (0, 0, 0, 0)


def test_a_cleared_append_run_leaves_later_runs_alone(world: World) -> None:
    """A run that later runs have overtaken repeats its own range and does not move the checkpoint."""
    world.sync(run_id="monday", **APPEND)
    world.run_at_source("INSERT INTO item (id, name) SELECT g, 'tuesday' FROM generate_series(20, 22) g")
    world.sync(run_id="tuesday", **APPEND)
    world.run_at_source("UPDATE item SET name = 'corrected' WHERE id = 3")
    result = world.sync(run_id="monday", generation=1, **APPEND)
    assert counts(result) == (9, 9, 0, 9)
    assert world.target_rows() == world.source_rows()
    world.run_at_source("INSERT INTO item (id, name) VALUES (30, 'wednesday')")
    assert counts(world.sync(**APPEND)) == (1, 1, 0, 0)
    assert world.target_rows() == world.source_rows()


def test_full_refresh_reads_everything_once(world: World) -> None:
    """full_refresh forgets the checkpoint; append takes the place of all it ever appended."""
    world.sync(**APPEND)
    world.run_at_source("INSERT INTO item (id, name) VALUES (30, 'more')")
    world.sync(**APPEND)
    assert counts(world.sync(full_refresh=True, **APPEND)) == (10, 10, 0, 10)
    assert world.target_rows() == world.source_rows()
    other = {**MERGE, "stream": "other"}
    world.target = "raw.other"
    world.sync(**other)
    assert counts(world.sync(full_refresh=True, **other)) == (10, 0, 0, 0)


@pytest.mark.parametrize("mode", ["merge", "append", "replace"])
def test_backfills_and_the_daily_run_at_once(world: World, mode: str) -> None:
    """Three interval loads and an incremental one, together: every row once."""
    world.run_at_source(
        "DELETE FROM item; INSERT INTO item SELECT g, 'x', g, NULL, timestamptz '2024-01-01Z' + g * interval '1 hour' "
        "FROM generate_series(0, 95) g"
    )
    days = [f"2024-01-0{day}T00:00:00+00:00" for day in range(1, 6)]
    backfill = {"capture": "cursor", "cursor_column": "updated_at", "mode": mode}
    jobs = [world.job(interval=(start, end), **backfill) for start, end in itertools.pairwise(days[:4])]
    if mode == "merge":
        jobs.append(world.job(**MERGE))
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(lambda job: job.execute(), jobs))
    expected = "true" if mode == "merge" else "updated_at < '2024-01-04Z'"
    assert world.target_rows() == world.source_rows(where=expected)
    again = world.sync(interval=(days[1], days[2]), **backfill)
    assert again.extracted == 24
    assert world.target_rows() == world.source_rows(where=expected)


def test_an_interval_does_not_bring_old_values_back(world: World) -> None:
    """A backfill whose rows were read before the daily run must not undo what the daily run merged."""
    job = world.job(interval=("2000-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00"), **MERGE)
    staged = stage_load(steps(world, job), TableRef.parse(world.target), job.destination, job.stage)
    world.run_at_source(CHANGE)
    world.sync(**MERGE)
    merge_load(staged, job.merging, job.destination, job.stage)
    assert world.target_rows() == world.source_rows()


# --- guards, checks, bad input ---


def test_an_empty_source_does_not_empty_the_target(world: World) -> None:
    """Replace refuses zero rows over a target with rows, unless told."""
    world.sync(**REPLACE)
    world.run_at_source("DELETE FROM item")
    with pytest.raises(DataError, match="allow_empty"):
        world.sync(**REPLACE)
    assert len(world.target_rows()) == 9
    world.sync(allow_empty=True, **REPLACE)
    assert world.target_rows() == []


def test_an_empty_source_deletes_nothing(world: World) -> None:
    """However few rows the target has: a source without any looks more like a fault than like the truth."""
    world.sync(**MIRROR)
    world.run_at_source("DELETE FROM item")
    with pytest.raises(DataError, match="allow_empty"):
        world.sync(**MIRROR)
    assert counts(world.sync(allow_empty=True, **MIRROR)) == (0, 0, 0, 9)


def test_an_idle_run_may_have_too_few_rows(world: World) -> None:
    """row_count(min=1) means it: a run that finds nothing new fails."""
    world.sync(**MERGE)
    with pytest.raises(DataError, match="at least 1"):
        world.sync(checks=["row_count(min=1)"], **MERGE)


def test_options_that_nobody_knows_are_refused(world: World) -> None:
    """Before anything moves."""
    with pytest.raises(ConfigurationError, match="no_such_option"):
        world.sync(table_options={"no_such_option": "day"}, **MERGE)
    with pytest.raises(ConfigurationError, match="max_quarantined_rows"):
        world.sync(max_quarantined_rows=-1, **MERGE)
    assert not [file for file in world.stage().list() if file.bytes]


def test_append_and_merge_do_not_share_a_stream(world: World) -> None:
    """Their positions mean different boundaries: going on from the other's could miss late rows."""
    world.sync(**MERGE)
    with pytest.raises(ConfigurationError, match=r"mode.*full_refresh"):
        world.sync(**APPEND)


def test_a_column_of_the_user_s_own_is_no_news(world: World) -> None:
    """Columns that a user added to the target stay, and nobody complains, not even under 'fail'."""
    world.sync(**MERGE)
    world.destination.run(
        f"ALTER TABLE {world.name} ADD COLUMN remark {world.destination.columns(world.target)['name']}"
    )
    world.run_at_source(CHANGE)
    assert world.sync(on_schema_drift="fail", **MERGE).schema_changes == ()


def test_a_mass_delete_is_refused(world: World) -> None:
    """More deletes than max_delete_ratio: nothing is merged."""
    world.sync(**MIRROR)
    world.run_at_source("DELETE FROM item WHERE id > 2")
    with pytest.raises(DeleteRatioError, match="max_delete_ratio"):
        world.sync(min_deletes_for_ratio=3, **MIRROR)
    assert len(world.target_rows()) == 9


@pytest.mark.parametrize(
    "check", ["not_null(name)", "unique(name)", "row_count(min=11)", "row_count(max=1)", "sql: amount < 1"]
)
def test_a_failed_check_keeps_the_whole_load_out(world: World, check: str) -> None:
    """Checks run inside the merge; a load that fails one leaves no trace and may be repaired and retried."""
    world.run_at_source("UPDATE item SET name = CASE id WHEN 1 THEN NULL ELSE 'same' END")
    with pytest.raises(DataError):
        world.sync(run_id="checked", checks=[check], **MERGE)
    assert not world.destination.columns(world.target) or world.target_rows() == []
    assert world.sync(run_id="checked", **MERGE).inserted == 9


def test_merge_without_a_key_is_refused_before_anything_moves(world: World) -> None:
    """No key, no merge; nothing was staged."""
    world.run_at_source("ALTER TABLE item DROP CONSTRAINT item_pkey")
    with pytest.raises(ConfigurationError, match="primary_key"):
        world.sync(**MERGE)
    assert not [file for file in world.stage().list() if file.bytes]


def test_a_key_that_is_not_unique_is_refused(world: World) -> None:
    """A key that the user named is checked."""
    with pytest.raises(DataError, match="more than once"):
        world.sync(query="SELECT id / 2 AS id, name FROM item", primary_key=["id"], mode="merge")
    with pytest.raises(DataError, match="NULL in the key"):
        world.sync(query="SELECT nullif(id, 3) AS id, name FROM item", primary_key=["id"], mode="merge")


def test_capture_and_key_are_part_of_the_stream(world: World) -> None:
    """A stream whose capture changed says so and names the remedy."""
    world.sync(**MERGE)
    with pytest.raises(ConfigurationError, match=r"capture.*full_refresh"):
        world.sync(capture="full", mode="merge")
    assert world.sync(capture="full", mode="merge", full_refresh=True).extracted == 9


# --- schema changes ---


def test_added_columns_arrive_with_their_defaults(world: World) -> None:
    """ADD COLUMN DEFAULT moves no row version; the old rows get the default all the same."""
    world.sync(**MERGE)
    world.run_at_source("ALTER TABLE item ADD COLUMN colour text DEFAULT 'grün', ADD COLUMN note text")
    world.run_at_source("UPDATE item SET colour = 'rot', note = 'n', updated_at = now() WHERE id = 7")
    result = world.sync(**MERGE)
    assert {change["class"] for change in result.schema_changes} == {"added"}
    assert world.target_rows("id, colour, note") == world.source_rows("id, colour, note")


def test_widened_and_conflicting_types(world: World) -> None:
    """Wider types widen the target, others become text: nothing is lost."""
    world.run_at_source("ALTER TABLE item ADD COLUMN small smallint, ADD COLUMN code varchar(5), ADD COLUMN flag int")
    world.sync(**MERGE)
    world.run_at_source(
        "ALTER TABLE item ALTER small TYPE bigint, ALTER code TYPE varchar(50), ALTER amount TYPE numeric(20,4), "
        "ALTER flag TYPE text USING 'f' || flag; "
        "UPDATE item SET small = 5000000000, code = repeat('x', 50), amount = 1234567890123456.7891, flag = 'yes', "
        "updated_at = now()"
    )
    result = world.sync(**MERGE)
    assert {change["class"] for change in result.schema_changes} <= {"widened", "narrowed"}
    assert world.target_rows("id, small, code, amount, flag") == world.source_rows("id, small, code, amount, flag")


def test_removed_columns_stay(world: World) -> None:
    """A column that is gone from the source is kept and reported."""
    world.sync(**MERGE)
    world.run_at_source("ALTER TABLE item DROP COLUMN amount; UPDATE item SET updated_at = now() WHERE id = 1")
    result = world.sync(**MERGE)
    assert [(change["class"], change["column"]) for change in result.schema_changes] == [("removed", "amount")]
    assert len(world.target_rows("id", "amount IS NOT NULL")) >= 8


def test_drift_policies(world: World) -> None:
    """'fail' merges nothing; 'freeze' loads what fits."""
    world.sync(**MERGE)
    world.run_at_source("ALTER TABLE item ADD COLUMN extra int; UPDATE item SET extra = 1, updated_at = now()")
    with pytest.raises(SchemaDriftError, match="extra"):
        world.sync(on_schema_drift="fail", **MERGE)
    result = world.sync(on_schema_drift="freeze", **MERGE)
    assert result.extracted == 9
    assert "extra" not in world.destination.columns(world.target)
    world.run_at_source(
        "ALTER TABLE item ALTER amount TYPE numeric(20,6); UPDATE item SET amount = 0.123456, updated_at = now()"
    )
    with pytest.raises(DataError, match="do not fit"):
        world.sync(on_schema_drift="freeze", **MERGE)


def test_merging_refuses_another_mode_than_extracted(world: World) -> None:
    """Extract and merge must be of one mind."""
    job = world.job(**MERGE)
    ref = steps(world, job)
    staged = stage_load(ref, TableRef.parse(world.target), job.destination, job.stage)
    with pytest.raises(ConfigurationError, match="extracted for mode"):
        merge_load(staged, merging(target_table=world.target, mode="append"), job.destination, job.stage)


@pytest.mark.parametrize("name", ['Käse "1"', "with space", "select", "日本語", "a.b", "100%"])
def test_names_arrive_as_they_are(world: World, name: str) -> None:
    """Tables and columns of any name, in both places."""
    from psycopg2.extensions import quote_ident

    session = world.server.connect(world.dbname)
    quoted = quote_ident(name, session)
    session.close()
    world.table, world.target = f"public.{quoted}", f"raw.{quoted}"
    world.run_at_source(
        f"CREATE TABLE {world.table} ({quoted} int PRIMARY KEY, v text); INSERT INTO {world.table} VALUES (1, 'x')"
    )
    assert world.sync(mode="merge").inserted == 1
    assert world.sync(mode="merge", full_refresh=True).updated == 0
    assert world.target_rows(quoted) == [("1",)]


# --- what an attack once found ---


@pytest.mark.parametrize("name", ["t", "s", "r", "S"])
@pytest.mark.parametrize("type_", ["jsonb", "int[]"])
def test_columns_named_like_aliases(world: World, name: str, type_: str) -> None:
    """DuckDB reads t."id" as a field of a column t where one is: our aliases must not be columns' names."""
    value = "'{\"id\": 2}'" if type_ == "jsonb" else "'{1,2}'"
    world.run_at_source(f'ALTER TABLE item ADD COLUMN "{name}" {type_} DEFAULT {value}')
    world.sync(**MIRROR)
    world.run_at_source("DELETE FROM item WHERE id = 5; UPDATE item SET name = 'x' WHERE id = 2")
    assert counts(world.sync(**MIRROR)) == (8, 0, 1, 1)
    assert world.target_rows() == world.source_rows()
    world.target = "raw.by_cursor"
    for _ in range(2):
        world.run_at_source("UPDATE item SET updated_at = now()")
        world.sync(stream="by cursor", **MERGE)
    assert world.target_rows() == world.source_rows()


def test_names_of_ours_are_refused(world: World) -> None:
    """Source columns may not begin as ours do."""
    world.run_at_source("ALTER TABLE item ADD COLUMN _elt_t int")
    with pytest.raises(ConfigurationError, match="belongs to this package"):
        world.sync(**MERGE)


def test_intervals_of_numbers_are_no_intervals_of_text(world: World) -> None:
    """Where a number is kept as text an interval is refused, and right with a type that fits."""
    world.run_at_source("ALTER TABLE item ADD COLUMN n numeric; UPDATE item SET n = id + 5")
    backfill = {"capture": "cursor", "cursor_column": "n", "mode": "append"}
    if not world.destination.keeps_numeric:
        with pytest.raises(DataError, match="as text"):
            world.sync(interval=("6", "9"), **backfill)
        world.target = "raw.typed_interval"
    for _ in range(2):
        for interval in (("6", "9"), ("9", "11"), ("11", "99")):
            world.sync(interval=interval, column_types={"n": "decimal(20,4)"}, stream="typed", **backfill)
    assert world.target_rows() == world.source_rows()


def test_a_target_that_was_dropped_is_not_half_filled(world: World) -> None:
    """A cursor stream whose target is gone asks for a full refresh."""
    world.sync(**MERGE)
    world.destination.run(f"DROP TABLE {world.name}")
    world.run_at_source(CHANGE)
    with pytest.raises(ConfigurationError, match="full_refresh"):
        world.sync(**MERGE)
    assert world.sync(full_refresh=True, **MERGE).inserted == 13


def test_columns_that_change_behind_their_name(world: World) -> None:
    """Dropped and added, swapped by renaming, rewritten, filled by an update that no cursor shows."""
    world.run_at_source("ALTER TABLE item ADD COLUMN a int DEFAULT 1, ADD COLUMN b int DEFAULT 2")
    world.sync(**MERGE)
    for change in (
        "ALTER TABLE item DROP COLUMN a; ALTER TABLE item ADD COLUMN a int DEFAULT 7",
        "ALTER TABLE item RENAME a TO c; ALTER TABLE item RENAME b TO a; ALTER TABLE item RENAME c TO b",
        "ALTER TABLE item ALTER a TYPE bigint USING a * 1000",
        "ALTER TABLE item ADD COLUMN d int DEFAULT 5; UPDATE item SET d = id",
    ):
        world.run_at_source(change)
        world.sync(**MERGE)
        names = "id, a, b, d" if " d " in change else "id, a, b"
        assert world.target_rows(names) == world.source_rows(names), change


def test_large_counters_are_not_rounded(world: World) -> None:
    """Ids beyond 2^53, with a lag: nothing between is lost, at the very end of bigint either."""
    world.run_at_source("ALTER TABLE item ADD COLUMN n bigint UNIQUE; UPDATE item SET n = 9007199254740993 + id")
    append = {"capture": {"cursor": {"column": "n", "lag": 3}}, "mode": "append"}
    world.sync(**append)
    assert len(world.target_rows()) == 6
    world.run_at_source("INSERT INTO item (id, n) VALUES (100, 9223372036854775807)")
    world.sync(**append)
    assert world.target_rows(where="id < 100") == world.source_rows(where="id < 100")


def test_a_cursor_in_local_time_behind_utc(world: World) -> None:
    """A clock that is hours behind moves no checkpoint beyond the rows."""
    world.run_at_source(
        "CREATE TABLE local (id int PRIMARY KEY, at timestamp DEFAULT (now() AT TIME ZONE 'America/New_York')); "
        "INSERT INTO local (id) VALUES (1), (2)"
    )
    world.table, world.target = "public.local", "raw.local"
    append = {"capture": "cursor", "cursor_column": "at", "mode": "append"}
    world.sync(**append)
    world.run_at_source("INSERT INTO local (id) VALUES (3)")
    world.sync(**append)
    assert world.target_rows("id") == world.source_rows("id")


def test_a_damaged_file_is_extracted_again(world: World) -> None:
    """A retried extract does not trust a manifest whose files were cut short, nor one that is none."""
    job = world.job(run_id="retry", **MERGE)
    first = steps(world, job)
    world.damage_files()
    second = steps(world, world.job(run_id="retry", **MERGE))
    assert second.uri != first.uri
    assert world.sync(run_id="retry", **MERGE).inserted == 9


@pytest.mark.parametrize("world", ["postgres"], indirect=True)
def test_a_table_is_not_merged_into_itself(world: World) -> None:
    """Two connections to one database, one name; a DuckDB file is never a source."""
    world.destination = replace(world.destination, dbname=world.dbname)
    world.target = world.table
    with pytest.raises(ConfigurationError, match="the very table"):
        world.sync(**REPLACE)
    assert len(world.source_rows()) == 9
