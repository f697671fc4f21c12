"""Digdag: an attempt's natural key makes a start exactly-once; many attempts are read page by page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.digdag_paging import Attempts
from airflow_elt_provider.remotes.model import Order, Phase, Watch
from airflow_elt_provider.remotes.opening import open_session
from tests.fakes.http_fake import Fault
from tests.remotes.systems import SESSION_TIME, DigdagSystem, Kept, quickly

pytestmark = pytest.mark.lowest


@pytest.fixture
def digdag():
    with DigdagSystem() as running:
        yield running


@pytest.fixture
def do(driver, digdag):
    """Drive what the flow of a method does: `do("start", order, intents)`."""
    remote = digdag.remote()
    return lambda method, *arguments: driver(quickly(getattr(remote, method)(*arguments)), digdag.settings)


@pytest.fixture
def start(digdag, do):
    def started(target=None, key="run", intents=None, **fields):
        return do("start", digdag.order(target or digdag.target(), key, **fields), intents or Kept())

    return started


@pytest.fixture
def look(do):
    return lambda watch: do("look", [watch])[watch]


def attempt_of(digdag, watch):
    return digdag.server.attempts[watch.job_id]


# --- start ---


def test_an_attempt_carries_session_time_name_and_parameters(digdag, start):
    watch = start(params={"day": "2026-11-25"}).watch
    attempt = attempt_of(digdag, watch)
    assert attempt.session.time == SESSION_TIME
    assert attempt.params == {"day": "2026-11-25"}
    assert re.fullmatch(r"airflow-[0-9a-f]{12}-[0-9a-f]{12}-0", attempt.retry_name)


def test_a_session_time_is_sent_in_whole_seconds_of_utc(digdag, start):
    zone = timezone(timedelta(hours=5, minutes=30))
    start(session_time=datetime(2026, 11, 25, 5, 30, 7, 999_999, tzinfo=zone))
    (seen,) = digdag.server.asked("/api/attempts$", "PUT")
    assert seen.json()["sessionTime"] == "2026-11-25T00:00:07+00:00"


def test_a_fraction_of_a_second_makes_no_second_attempt(digdag, start):
    target = digdag.target()
    first = start(target, session_time=SESSION_TIME)
    again = start(target, session_time=SESSION_TIME + timedelta(microseconds=5))
    assert (again.how, again.watch) == ("found", first.watch)


def test_the_conflict_of_a_repeat_is_the_attempt_that_is_there(digdag, start):
    target = digdag.target()
    first = start(target)
    digdag.server.finish(first.watch.job_id)
    again = start(target)
    assert (first.how, again.how) == ("started", "found")
    assert first.watch == again.watch
    assert digdag.outcomes(target) == ["succeeded"]


def test_a_task_that_was_cleared_finds_what_it_left_running(digdag, start):
    target = digdag.target()
    first = start(target, "before the clear", family="run of the task")
    again = start(target, "after the clear", family="run of the task")
    assert (again.how, again.watch) == ("found", first.watch)
    digdag.server.finish(first.watch.job_id)
    assert start(target, "after the clear", family="run of the task").how == "started"


def test_two_tasks_share_a_session_and_not_an_attempt(digdag, start):
    target = digdag.target()
    assert start(target, "task a").watch.job_id != start(target, "task b").watch.job_id
    assert digdag.outcomes(target) == ["running", "running"]


def test_a_new_revision_does_not_start_a_second_attempt(digdag, start):
    target = digdag.target()
    first = start(target)
    with digdag.server.lock:
        digdag.server.new_revision("rental", "second", b"")
    digdag.server.add_workflow("rental", target.split("/")[1])
    assert start(target).watch == first.watch


@pytest.mark.parametrize(("resume", "skipped"), [("failed", ("+extract",)), ("none", ())])
def test_a_retry_goes_on_from_the_failed_task_or_begins_anew(digdag, start, resume, skipped):
    target, intents = digdag.target(), Kept()
    first = start(target, intents=intents, resume=resume)
    digdag.server.fail(first.watch.job_id, "+load")
    again = start(target, intents=intents, resume=resume)
    attempt = attempt_of(digdag, again.watch)
    assert again.how == "started"
    assert attempt.retry_name.endswith("-1")
    assert attempt.done_before == skipped
    assert attempt.session is attempt_of(digdag, first.watch).session


def test_the_third_retry_resumes_the_second(digdag, start):
    target, intents = digdag.target(), Kept()
    for _ in range(3):
        digdag.server.fail(start(target, intents=intents, resume="failed").watch.job_id, "+load")
    last = start(target, intents=intents, resume="failed")
    body = digdag.server.asked("/api/attempts$", "PUT")[-1].json()
    assert body["resume"] == {"mode": "failed", "attemptId": digdag.server.starts(*target.split("/"))[2].id}
    assert attempt_of(digdag, last.watch).retry_name.endswith("-3")


def test_too_many_attempts_is_a_fault_of_the_moment(digdag, start):
    digdag.server.most_running = 0
    with pytest.raises(TransientError, match="as many attempts as it may"):
        start()


@pytest.mark.parametrize("name", ["nothing/load", "rental/nothing"])
def test_an_unknown_project_or_workflow_is_named(digdag, start, name):
    digdag.target()
    with pytest.raises(ConfigurationError, match=f"has no workflow '{name}'"):
        start(name)


@pytest.mark.parametrize("name", ["rental", "/load", "rental/", ""])
def test_a_name_that_is_no_workflow_is_refused_before_anything_is_asked(digdag, do, name):
    with pytest.raises(ConfigurationError, match="names no workflow"):
        do("start", digdag.order(name), Kept())
    assert not digdag.server.requests


def test_names_with_strange_letters_find_their_way(digdag, start):
    digdag.server.add_workflow("räntal & co", "lo ad+ü?")
    assert start("räntal & co/lo ad+ü?").how == "started"


def test_an_order_without_a_session_time_is_a_mistake_of_ours(digdag, do):
    with pytest.raises(TypeError):
        do("start", Order("rental/load"), Kept())


# --- look, cancel ---


def test_an_attempt_is_watched_to_its_end(digdag, start, look):
    watch = start().watch
    assert look(watch).word == "running"
    digdag.server.finish(watch.job_id)
    assert look(watch).phase is Phase.SUCCEEDED


def test_a_failed_attempt_has_failed(digdag, start, look):
    watch = start().watch
    digdag.server.fail(watch.job_id)
    assert look(watch).phase is Phase.FAILED


def test_a_killed_attempt_is_active_until_its_task_has_ended(digdag, start, do, look):
    digdag.server.kill_seconds = None
    watch = start().watch
    assert do("cancel", watch) is True
    seen = look(watch)
    assert (seen.phase, seen.note) == (Phase.ACTIVE, "a kill was asked for")
    attempt_of(digdag, watch).status = "killed"
    assert look(watch).phase is Phase.CANCELLED


def test_what_somebody_else_killed_is_cancelled(digdag, start, look):
    watch = start().watch
    digdag.server.kill_by_someone(watch.job_id)
    assert look(watch).phase is Phase.CANCELLED


def test_a_kill_stops_nothing_but_our_attempt(digdag, start, do):
    target = digdag.target()
    ours, other = start(target, "ours").watch, start(target, "other").watch
    digdag.server.finish(ours.job_id)
    assert do("cancel", ours) is False
    assert do("cancel", Watch(target, "999999")) is False
    assert attempt_of(digdag, other).status == "running"
    assert digdag.server.killed == []


def test_an_attempt_that_the_server_forgot_is_lost_and_not_failed(digdag, start, look):
    watch = start().watch
    digdag.server.forget_attempts()
    seen = look(watch)
    assert (seen.lost, seen.phase) == (True, Phase.ACTIVE)


def test_a_sensor_sees_a_success_of_the_very_second_and_not_an_older_one(digdag, start, look):
    target = digdag.target()
    watch = start(target).watch
    digdag.server.finish(watch.job_id)
    now = datetime.now(UTC)
    assert not look(Watch(target, after=(now + timedelta(seconds=5)).isoformat())).ended
    finished = datetime.fromtimestamp(int(attempt_of(digdag, watch).finished), UTC).replace(microsecond=999_999)
    assert look(Watch(target, after=finished.isoformat())).job_id == watch.job_id


# --- report ---


def test_a_report_says_which_task_failed_and_shows_its_log(digdag, start, do, look):
    watch = start().watch
    digdag.server.set_log(watch.job_id, "+load", "".join(f"line {number}\n" for number in range(80)))
    digdag.server.fail(watch.job_id, "+load", "The warehouse is full.")
    report = do("report", watch, look(watch))
    name = f"+{watch.remote_id.split('/')[1]}+load"
    assert report.status == "error"
    assert report.reason.startswith(f"{name}: The warehouse is full.")
    assert list(report.log_tail) == [f"{name}: line {number}" for number in range(30, 80)]


def test_a_report_of_a_success_lists_its_tasks(digdag, start, do, look):
    watch = start().watch
    digdag.server.finish(watch.job_id)
    report = do("report", watch, look(watch))
    workflow = watch.remote_id.split("/")[1]
    assert [(one.name, one.status) for one in report.streams] == [
        (f"+{workflow}+extract", "success"),
        (f"+{workflow}+load", "success"),
    ]
    assert (report.reason, report.log_tail) == ("", ())


@pytest.mark.parametrize("body", ["\x1f\x8b broken", ""], ids=["no gzip", "empty"])
def test_a_report_does_without_a_log_that_cannot_be_read(digdag, start, do, look, body):
    watch = start().watch
    digdag.server.fail(watch.job_id, "+load")
    digdag.server.inject(Fault("GET", "/files/", status=200, body=body, times=None))
    assert do("report", watch, look(watch)).reason


def test_check_says_version_and_projects(digdag, do):
    digdag.target()
    assert re.fullmatch(r"Digdag [\d.]+ answers; projects: 1", do("check"))


# --- many ---


@pytest.fixture
def crowd(digdag):
    """Begin 1,200 attempts of one workflow, each of its own session; their ids."""
    workflow = digdag.server.add_workflow("rental", "crowd")
    return [digdag.server.begin(workflow, SESSION_TIME + timedelta(hours=hour)) for hour in range(1200)]


def by_id(driver, digdag, ids):
    return driver(Attempts(open_session(digdag.settings)).by_id(set(ids)), digdag.settings)


def test_many_attempts_are_read_a_hundred_at_a_time(driver, digdag, crowd):
    found = by_id(driver, digdag, crowd)
    assert set(found) == set(crowd)
    assert len(digdag.server.requests) <= 26  # ids of attempts and of sessions alternate


@pytest.mark.parametrize("apart", [1, 3, 7, 100, 400, 1199])
def test_ours_are_found_among_many_of_others(driver, digdag, crowd, apart):
    ours = crowd[::apart]
    found = by_id(driver, digdag, [*ours, "10000000"])
    assert set(found) == set(ours)
    assert len(digdag.server.requests) <= len(ours) + 1


def test_attempts_of_which_the_server_forgot_some_are_read(driver, digdag, crowd):
    with digdag.server.lock:
        for attempt in crowd[::2]:
            del digdag.server.attempts[attempt]
    assert set(by_id(driver, digdag, crowd)) == set(crowd[1::2])


def test_no_attempt_is_no_request(driver, digdag):
    assert by_id(driver, digdag, []) == {}
    assert not digdag.server.requests


def test_an_attempt_that_was_retried_is_still_found(digdag, start, do):
    target = digdag.target()
    watches = [start(target, f"key {number}").watch for number in range(6)]
    digdag.server.finish(watches[0].job_id)
    found = do("look", watches)
    assert [found[watch].ended for watch in watches] == [True, False, False, False, False, False]
