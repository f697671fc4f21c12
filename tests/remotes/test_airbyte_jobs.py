"""One Airbyte job: started, watched, cancelled only while it is ours, and reported, in each dialect by both drivers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.model import Phase, Watch
from tests.fakes.http_fake import Fault
from tests.remotes.systems import ConfigAirbyte, Kept, OldAirbyte, PublicAirbyte

pytestmark = pytest.mark.lowest

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(params=[PublicAirbyte, OldAirbyte, ConfigAirbyte], ids=["public", "config-0.40", "config-current"])
def airbyte(request):
    with request.param() as running:
        yield running


@pytest.fixture
def do(driver, airbyte):
    """Drive what the flow of a method does: `do("start", order, intents)`."""
    remote = airbyte.remote()
    return lambda method, *arguments: driver(getattr(remote, method)(*arguments), airbyte.settings)


@pytest.fixture
def target(airbyte):
    return airbyte.target()


@pytest.fixture
def watch(airbyte, do, target):
    return do("start", airbyte.order(target), Kept()).watch


def job_of(watch):
    return int(watch.job_id)


# --- start ---


def test_a_start_names_job_and_page(airbyte, do, target):
    started = do("start", airbyte.order(target), Kept())
    workspace = airbyte.server.catalogue.workspace_id
    assert started.watch.job_id == str(airbyte.server.starts(target)[0])
    assert started.url == f"{airbyte.server.url}/workspaces/{workspace}/connections/{target}/status"


@pytest.mark.parametrize("status", ["inactive", "deprecated"])
def test_what_is_not_active_is_refused_before_anything_is_asked_for(airbyte, do, status):
    target = airbyte.server.add_connection("shop", status=status)
    with pytest.raises(ConfigurationError, match=f"is {status}"):
        do("start", airbyte.order(target), Kept())
    assert airbyte.server.asked(airbyte.start_path, "POST") == []


def test_an_unknown_connection_is_named(airbyte, do):
    with pytest.raises(ConfigurationError, match="has no connection") as raised:
        do("start", airbyte.order(NOBODY), Kept())
    assert "copy the UUID" in raised.value.hint


def test_a_job_that_began_in_time_is_adopted(airbyte, do, target):
    before = datetime.now(UTC)
    job = airbyte.server.begin(target)
    started = do("start", airbyte.order(target, adopt_after=before), Kept())
    assert (started.how, started.watch.job_id) == ("adopted", str(job))


def test_a_job_that_began_too_early_is_waited_for(airbyte, do, target):
    job = airbyte.server.begin(target)
    later = datetime.now(UTC) + timedelta(seconds=2)
    intents = Kept()
    started = do("start", airbyte.order(target, adopt_after=later), intents)
    assert (started.how, started.watch.job_id) == ("waiting", str(job))
    assert intents.written == []
    airbyte.server.finish(job)
    assert do("start", airbyte.order(target, adopt_after=later), intents).how == "started"


def test_an_adopted_job_is_found_again(airbyte, do, target):
    job, intents = airbyte.server.begin(target), Kept()
    do("start", airbyte.order(target), intents)
    airbyte.server.finish(job)
    again = do("start", airbyte.order(target), intents)
    assert (again.how, again.watch.job_id) == ("found", str(job))


def test_a_reset_is_not_a_sync(airbyte, do, target):
    airbyte.server.finish(airbyte.server.begin(target, "reset"))
    started = do("start", airbyte.order(target, since=datetime(2020, 1, 1, tzinfo=UTC)), Kept())
    assert started.how == "started"


# --- look ---


def test_a_job_is_watched_to_its_end(airbyte, do, watch):
    assert do("look", [watch])[watch].word == "running"
    airbyte.server.finish(job_of(watch), rows=7, bytes=70)
    seen = do("look", [watch])[watch]
    assert (seen.phase, seen.word) == (Phase.SUCCEEDED, "succeeded")


@pytest.mark.parametrize(
    ("word", "phase", "known"),
    [
        ("pending", Phase.ACTIVE, True),
        ("incomplete", Phase.ACTIVE, True),
        ("failed", Phase.FAILED, True),
        ("cancelled", Phase.CANCELLED, True),
        ("hibernating", Phase.ACTIVE, False),
    ],
)
def test_every_status_has_its_meaning_and_an_unknown_one_is_active(airbyte, do, watch, word, phase, known):
    airbyte.server.set_status(job_of(watch), word)
    seen = do("look", [watch])[watch]
    assert (seen.phase, seen.word, seen.known) == (phase, word, known)


def test_a_job_that_the_server_forgot_is_lost_and_not_failed(airbyte, do, watch):
    airbyte.server.forget_jobs()
    seen = do("look", [watch])[watch]
    assert (seen.lost, seen.phase) == (True, Phase.ACTIVE)


def test_a_sensor_sees_a_success_of_the_very_second(airbyte, do, target):
    after = datetime.now(UTC).replace(microsecond=999_999)
    sensor = Watch(target, after=after.isoformat())
    job = airbyte.server.begin(target)
    assert do("look", [sensor])[sensor].phase is Phase.ACTIVE
    airbyte.server.finish(job)
    assert do("look", [sensor])[sensor].job_id == str(job)


# --- cancel ---


def test_our_own_job_is_cancelled(airbyte, do, watch):
    assert do("cancel", watch) is True
    assert airbyte.server.job(job_of(watch)).status == "cancelled"


def test_a_newer_job_survives_a_late_cancel(airbyte, do, watch):
    airbyte.server.finish(job_of(watch))
    newer = airbyte.server.begin(watch.remote_id)
    assert do("cancel", watch) is False
    assert airbyte.server.job(newer).active
    assert airbyte.server.cancelled_by_api == []


def test_a_reset_survives_a_late_cancel(airbyte, do, watch):
    airbyte.server.finish(job_of(watch))
    newer = airbyte.server.begin(watch.remote_id, "reset")
    assert do("cancel", watch) is False
    assert airbyte.server.job(newer).active


def test_a_job_that_ended_meanwhile_was_not_cancelled(airbyte, do, watch):
    airbyte.server.finish(job_of(watch))
    assert do("cancel", watch) is False


# --- report ---


def test_a_report_says_what_moved(airbyte, do, watch):
    streams = [{"name": "orders", "rows": 5, "bytes": 50}, {"name": "users", "rows": 2, "bytes": 20}]
    airbyte.server.finish(job_of(watch), rows=7, bytes=70, streams=streams)
    report = do("report", watch, do("look", [watch])[watch])
    assert (report.status, report.rows, report.bytes) == ("succeeded", 7, 70)
    assert report.started_at
    assert report.finished_at
    assert report.reason == ""
    if not isinstance(airbyte, PublicAirbyte):  # the public API knows neither
        assert report.attempts == 1
        assert [(one.name, one.rows, one.bytes) for one in report.streams] == [("orders", 5, 50), ("users", 2, 20)]


def test_a_report_says_why_it_failed_and_shows_the_logs_end(airbyte, do, watch):
    airbyte.server.incomplete(job_of(watch), "The network was down")
    airbyte.server.retry(job_of(watch))
    lines = [f"line {number}" for number in range(80)]
    airbyte.server.fail(job_of(watch), "config_error", "Wrong password", retryable=False, log_lines=lines)
    report = do("report", watch, do("look", [watch])[watch])
    assert report.status == "failed"
    if not isinstance(airbyte, PublicAirbyte):
        assert report.attempts == 2
        assert report.reason == "Wrong password (source, config_error)"
        assert report.retryable is False
        assert list(report.log_tail) == lines[-50:]


@pytest.mark.parametrize(
    ("kind", "retryable", "expected"),
    [("system_error", None, True), ("system_error", False, False), ("config_error", None, False)],
)
def test_a_retry_helps_unless_airbyte_says_that_it_does_not(airbyte, do, watch, kind, retryable, expected):
    airbyte.server.fail(job_of(watch), kind, retryable=retryable)
    report = do("report", watch, do("look", [watch])[watch])
    assert report.retryable is (True if isinstance(airbyte, PublicAirbyte) else expected)


def test_a_report_needs_no_logs(airbyte, do, watch):
    airbyte.server.finish(job_of(watch), rows=7)
    airbyte.server.inject(Fault("POST", r"/jobs/get$", status=500, times=None))
    report = do("report", watch, do("look", [watch])[watch])
    assert report.status == "succeeded"


def test_a_report_of_a_forgotten_job_says_what_was_last_seen(airbyte, do, watch):
    airbyte.server.fail(job_of(watch))
    seen = do("look", [watch])[watch]
    airbyte.server.forget_jobs()
    report = do("report", watch, seen)
    assert (report.status, report.job_id) == ("failed", watch.job_id)
