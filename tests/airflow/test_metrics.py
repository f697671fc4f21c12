"""What a load tells Airflow's metrics: a real StatsD client, and a UDP socket that listens."""

from __future__ import annotations

import socket
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from airflow_elt_provider.operators import _metrics
from tests.airflow import in_process

pytestmark = pytest.mark.lowest

SYNC = """
SyncTableOperator(task_id="actor", source_conn_id="rds", source_table="public.actor", destination_conn_id="lake",
                  target_table="raw.actor", {more})
"""
STREAM = "elt.stream.rds_public_actor__raw_actor"
STEPS = """
extract = ExtractOperator(task_id="extract", source_conn_id="rds", source_table="public.actor",
                          target_table="raw.actor", destination_conn_id="lake")
stage = StageOperator(task_id="stage", manifest=extract.output, destination_conn_id="lake", target_table="raw.actor")
MergeOperator(task_id="merge", staged=stage.output, destination_conn_id="lake")
"""


@contextmanager
def switched_on(port, **options):
    """Let Airflow send metrics, as in a worker: `dag.test()` does not begin with what a worker begins with."""
    named = {f"AIRFLOW__METRICS__{name.upper()}": value for name, value in options.items()}
    named |= {
        "AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(port), "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
    }  # fmt: skip
    with in_process.environment(**named):
        if in_process.AIRFLOW_2:
            from airflow.metrics import statsd_logger
            from airflow.stats import Stats

            factory, instance = type(Stats).factory, type(Stats).instance
            type(Stats).factory, type(Stats).instance = statsd_logger.get_statsd_logger, None
            Stats.instance = None
            try:
                yield
            finally:
                type(Stats).factory, type(Stats).instance = factory, instance
                Stats.instance = None
        else:
            from airflow.sdk.observability import stats
            from airflow.sdk.observability.metrics import stats_utils

            stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
            try:
                yield
            finally:
                with in_process.environment(AIRFLOW__METRICS__STATSD_ON="False"):
                    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)


class Listener:
    """A StatsD server: it only listens."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def heard(self):
        """Return name -> values of what came of ours, each as `value|kind`."""
        found = defaultdict(list)
        try:
            while True:
                for line in self._socket.recv(1 << 16).decode().splitlines():
                    name, _, value = line.partition(":")
                    if name.startswith("airflow.elt."):
                        found[name.removeprefix("airflow.")].append(value)
        except BlockingIOError:
            return dict(found)

    def close(self):
        self._socket.close()


@pytest.fixture
def listener():
    server = Listener()
    yield server
    server.close()


def test_a_sync_tells_rows_bytes_seconds_and_lag(place, listener):
    place.sql("UPDATE actor SET last_update = now() - interval '1 hour' WHERE id = 3")
    body = SYNC.format(more="cursor_column='last_update'")
    with switched_on(listener.port):
        result = in_process.run(body).one()
        first = listener.heard()
        in_process.run(body)
        second = listener.heard()
    for prefix in ("elt", STREAM):
        assert first[f"{prefix}.loads"] == ["1|c"]
        assert first[f"{prefix}.rows_extracted"] == first[f"{prefix}.rows_inserted"] == ["3|c"]
        assert first[f"{prefix}.rows_updated"] == first[f"{prefix}.rows_quarantined"] == ["0|c"]
        assert first[f"{prefix}.bytes_staged"] == [f"{result['bytes_staged']}|c"]
        for step in ("extract", "stage", "merge"):
            (told,) = first[f"{prefix}.duration_{step}"]
            assert told.endswith("|ms")
            assert float(told[:-3]) == pytest.approx(result["seconds"][step] * 1000, abs=1)
        (lag,) = first[f"{prefix}.lag_seconds"]
        assert 3600 <= float(lag.removesuffix("|g")) < 3700
        assert second[f"{prefix}.rows_extracted"] == ["0|c"]
        assert second[f"{prefix}.lag_seconds"]
    assert all(name.count(".") == (1 if not name.startswith("elt.stream.") else 3) for name in first)


def test_three_steps_tell_once_at_the_end(place, listener):
    with switched_on(listener.port):
        in_process.run(STEPS)
        heard = listener.heard()
    assert heard["elt.loads"] == ["1|c"]
    assert heard["elt.rows_inserted"] == ["3|c"]
    assert {name for name in heard if name.startswith("elt.duration_")} == {
        "elt.duration_extract", "elt.duration_stage", "elt.duration_merge",
    }  # fmt: skip
    (age,) = heard["elt.lag_seconds"]
    assert float(age.removesuffix("|g")) < 100, "of a snapshot"


def test_tags_where_the_server_knows_them(place, listener):
    with switched_on(listener.port, statsd_influxdb_enabled="True"):
        in_process.run(SYNC.format(more="stream='a=b,c d|e:f'"))
        heard = listener.heard()
    assert heard["elt.rows_inserted,stream=a_b_c_d_e_f,destination=lake,target=raw.actor,capture=full"] == ["3|c"]
    assert heard["elt.stream.a_b_c_d_e_f.rows_inserted"] == ["3|c"]


def test_a_server_that_is_away_fails_no_load(place, listener):
    with switched_on(listener.port):
        listener.close()
        assert in_process.run(SYNC.format(more="")).state == "success"


@pytest.mark.parametrize(
    ("stream", "name"),
    [("rds.public.actor->raw.actor", "rds_public_actor__raw_actor"), ('x."a.b c"', "x_a_b_c_"),
     ("a/b:c|d@e", "a_b_c_d_e")],
)  # fmt: skip
def test_a_name_is_one_part(stream, name):
    assert _metrics.part(stream) == name


def test_names_that_lose_letters_stay_apart():
    one, other = _metrics.part("rds.顧客->raw.c"), _metrics.part("rds.注文->raw.c")
    assert one != other
    assert one.startswith("rds___raw_c_")
    assert len(_metrics.part("x" * 300)) < 140
    assert _metrics.part("x" * 300) != _metrics.part("x" * 301)


def test_lag_of_a_log_goes_on():
    from types import SimpleNamespace

    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    manifest = SimpleNamespace(
        source_facts={"lag_bytes": "4096", "lag_seconds": "7.5"}, created_at="",
        as_of=(now - timedelta(seconds=2)).isoformat(), next_position=SimpleNamespace(cursor=None),
    )  # fmt: skip
    assert _metrics.lag_bytes(manifest) == 4096
    assert _metrics.lag_seconds(manifest, now) == pytest.approx(9.5)
