"""The first load of a large table by fingerprint: in portions, on which a retry builds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from airflow_elt_provider.connectors.postgres.first_load import PortionSizes
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.gc import collect
from airflow_elt_provider.engine.start import StreamState
from tests.connectors.postgres.mirrors import KEYS, MERGE, Place
from tests.contract.faults import PowerCutError

pytestmark = pytest.mark.parametrize("mirror", ["duckdb"], indirect=True)
"""Nothing of this is a matter of the destination."""

SMALL = PortionSizes(rows=1000, bytes=1)
MOVES = (
    "UPDATE t SET n = n + 1 WHERE n % 97 = 0; DELETE FROM t WHERE n % 101 = 0; "
    "INSERT INTO t SELECT * FROM fresh WHERE n = (SELECT max(n) FROM fresh); "
    "DELETE FROM fresh WHERE n = (SELECT max(n) FROM fresh)"
)


class LargePlace(Place):
    """A world in which every table is large."""

    def source(self) -> PostgresSource:
        return PostgresSource(super().source()._settings, SMALL)


@pytest.fixture(params=["int", "uuid", "numeric"])
def large(request, mirror):
    column, value = KEYS[request.param]
    rows = f"SELECT {value}, 'v' || g, g FROM generate_series({{}}, {{}}) g"
    mirror.sql(
        f"CREATE TABLE t ({column}, v text, n int); INSERT INTO t {rows.format(1, 9000)}; "
        f"CREATE TABLE fresh ({column}, v text, n int); INSERT INTO fresh {rows.format(9001, 9020)}; ANALYZE"
    )
    mirror.world.__class__ = LargePlace
    return mirror


def portions_of(world) -> list[str]:
    return [file.uri for file in world.stage().list() if "/portion-" in file.uri]


def test_a_large_table_is_read_in_portions_while_it_changes(large):
    world = large.world
    job = world.job(**MERGE)
    opened = 0
    inner = job.stage.inner

    class Watched(type(inner)):
        def put_if_absent(self, path, data):
            nonlocal opened
            if "/portion-" in path:
                opened += 1
                large.sql(MOVES)
            return super().put_if_absent(path, data)

    inner.__class__ = Watched
    job.execute()
    assert opened > 6
    assert len(portions_of(world)) == opened
    result = large.check()
    assert result.extracted > 0
    assert large.check().extracted == 0


def test_a_first_load_goes_on_after_a_crash(large):
    world = large.world
    with world.blowing_at(7), pytest.raises(PowerCutError):
        large.sync(run_id="r")
    done = portions_of(world)
    assert 1 <= len(done) < 8
    stored = {file.uri for file in world.stage().list()}
    large.sql(MOVES)
    result = large.sync(run_id="r")
    assert set(portions_of(world)) > set(done)
    manifest = result.manifest
    assert len({file.uri for file in manifest.files} & stored) >= len(done)
    assert manifest.source_rows == sum(file.rows for file in manifest.files)
    large.check()
    assert large.check().extracted == 0


def test_portions_whose_files_are_gone_are_read_again(large):
    world = large.world
    with world.blowing_at(8), pytest.raises(PowerCutError):
        large.sync(run_id="r")
    world.damage_files()
    assert large.check(run_id="r").inserted == 9000
    assert large.check().extracted == 0


def test_portions_of_another_plan_are_not_used(large):
    world = large.world
    with world.blowing_at(8), pytest.raises(PowerCutError):
        large.sync(run_id="r")
    done = portions_of(world)
    large.sql("ALTER TABLE t ADD COLUMN more int DEFAULT 3")
    result = large.check(run_id="r")
    assert result.inserted == 9000
    assert not set(done) & {file.uri for file in result.manifest.files}
    assert large.check().extracted == 0


def test_two_twins_at_once(large):
    world = large.world
    jobs = [world.job(run_id="r", **MERGE) for _ in range(2)]
    extracts = [Extract(job.extraction, job.run, job.source, job.stage, StreamState()) for job in jobs]
    with ThreadPoolExecutor(2) as pool:
        refs = list(pool.map(lambda extract: extract.execute(), extracts))
    assert refs[0].uri == refs[1].uri
    assert large.check(run_id="r").inserted == 9000
    assert large.check().extracted == 0


def test_a_table_is_read_in_one_go_when_asked(large):
    assert large.check(capture={"fingerprint": {"consistent": True}}).inserted == 9000
    assert portions_of(large.world) == []


def test_portions_are_collected_with_their_load(large):
    large.sync()
    assert portions_of(large.world)
    collect(large.world.stage(), timedelta(0))
    assert [file.uri for file in large.world.stage().list() if "/_state/" not in file.uri] == []
