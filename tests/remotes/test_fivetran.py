"""Fivetran: a sync has no id; two times of its connection, noted before the start, tell what became of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from airflow_elt_provider.errors import ConfigurationError, RateLimitedError
from airflow_elt_provider.remotes.fivetran_status import Mark
from airflow_elt_provider.remotes.model import Phase, Watch
from tests.fakes.http_fake import Fault
from tests.remotes.systems import FivetranSystem, Kept, quickly

pytestmark = pytest.mark.lowest


@pytest.fixture
def fivetran():
    with FivetranSystem() as running:
        yield running


@pytest.fixture
def do(driver, fivetran):
    """Drive what the flow of a method does: `do("start", order, intents)`."""
    remote = fivetran.remote()
    return lambda method, *arguments: driver(quickly(getattr(remote, method)(*arguments)), fivetran.settings)


@pytest.fixture
def started(fivetran, do):
    """Start a sync and return its watch."""

    def start(target=None, **fields):
        return do("start", fivetran.order(target or fivetran.target(), **fields), Kept()).watch

    return start


@pytest.fixture
def look(do):
    return lambda watch: do("look", [watch])[watch]


# --- marks ---


def test_the_first_sync_ever_is_watched_to_its_end(fivetran, started, look):
    watch = started()
    assert Mark.parse(watch.mark) == Mark("", "")
    assert look(watch).phase is Phase.ACTIVE
    fivetran.end(watch.remote_id)
    assert look(watch).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("history", [[], ["succeeded"], ["failed"], ["succeeded", "failed"], ["failed", "succeeded"]])
@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_sync_is_told_from_all_that_went_before(fivetran, started, look, history, status):
    target = fivetran.target()
    for earlier in history:
        fivetran.begin(target)
        fivetran.end(target, earlier)
    watch = started(target)
    assert look(watch).phase is Phase.ACTIVE
    fivetran.end(target, status)
    assert look(watch).phase == status


@pytest.mark.parametrize("last", ["succeeded", "failed"])
def test_where_both_times_moved_the_later_counts(fivetran, started, look, last):
    watch = started()
    fivetran.end(watch.remote_id, "failed" if last == "succeeded" else "succeeded")
    fivetran.begin(watch.remote_id)
    fivetran.end(watch.remote_id, last)
    assert look(watch).phase == last


def test_while_something_still_syncs_nothing_has_ended(fivetran, started, look):
    watch = started()
    fivetran.end(watch.remote_id)
    fivetran.begin(watch.remote_id)
    assert look(watch).phase is Phase.ACTIVE
    fivetran.end(watch.remote_id)
    assert look(watch).phase is Phase.SUCCEEDED


def test_a_sync_that_nobody_has_begun_yet_is_awaited(fivetran, started, look):
    watch = started()
    fivetran.server.connections[watch.remote_id].sync_state = "scheduled"
    assert look(watch).phase is Phase.ACTIVE


def test_a_sync_is_never_forced(fivetran, started):
    watch = started()
    (seen,) = fivetran.server.asked("/sync$", "POST")
    assert seen.json() == {"force": False}
    assert seen.headers["Accept"] == "application/json;version=2"
    started(watch.remote_id)
    assert fivetran.server.interrupted == []
    assert fivetran.outcomes(watch.remote_id) == ["running"]


def test_a_sensor_waits_for_a_success_after_its_time(fivetran, look):
    target, after = fivetran.target(), datetime.now(UTC)
    sensor = Watch(target, after=after.isoformat())
    fivetran.begin(target)
    fivetran.end(target, "failed")
    assert look(sensor).phase is Phase.ACTIVE
    fivetran.begin(target)
    fivetran.end(target)
    assert look(sensor).phase is Phase.SUCCEEDED
    later = Watch(target, after=(after + timedelta(hours=1)).isoformat())
    assert look(later).phase is Phase.ACTIVE


# --- put off, paused, broken ---


def test_what_fivetran_put_off_and_leaves_to_us_is_started_once_when_it_is_due(fivetran, started, look):
    watch = started(fivetran.server.add_connection("rental", schedule_type="manual"))
    fivetran.server.reschedule(watch.remote_id, 3600)
    assert look(watch).word == "rescheduled"
    assert fivetran.outcomes(watch.remote_id) == ["rescheduled"]
    fivetran.server.connections[watch.remote_id].rescheduled_for = time.time() - 1
    assert look(watch).phase is Phase.ACTIVE
    assert fivetran.outcomes(watch.remote_id) == ["rescheduled", "running"]
    fivetran.end(watch.remote_id)
    assert look(watch).phase is Phase.SUCCEEDED


def test_what_is_still_shown_as_put_off_is_not_started_over_and_over(fivetran, started, look):
    watch = started(fivetran.server.add_connection("rental", schedule_type="manual"))
    fivetran.server.reschedule(watch.remote_id, -1)
    fivetran.server.inject(Fault("POST", "/sync$", status=200, body={"code": "Success"}, times=None))
    for _ in range(3):
        look(watch)
    assert len(fivetran.server.asked("/sync$", "POST")) == 2  # the first start, and one of what was put off
    fivetran.server.connections[watch.remote_id].rescheduled_for = time.time() - 0.5  # put off a second time
    look(watch)
    assert len(fivetran.server.asked("/sync$", "POST")) == 3


def test_what_was_put_off_is_started_although_the_first_attempt_is_refused(fivetran, started, look):
    watch = started(fivetran.server.add_connection("rental", schedule_type="manual"))
    fivetran.server.reschedule(watch.remote_id, -1)
    fivetran.server.inject(Fault("POST", "/sync$", status=503))
    look(watch)
    assert fivetran.outcomes(watch.remote_id) == ["rescheduled"]
    look(watch)
    assert fivetran.outcomes(watch.remote_id) == ["rescheduled", "running"]


def test_what_fivetran_put_off_and_starts_itself_is_left_to_it(fivetran, started, look):
    watch = started(fivetran.server.add_connection("rental", schedule_type="auto"))
    fivetran.server.reschedule(watch.remote_id, 3600)
    fivetran.server.connections[watch.remote_id].rescheduled_for = time.time() - 1
    look(watch)
    assert len(fivetran.server.asked("/sync$", "POST")) == 1


def test_a_sensor_starts_nothing(fivetran, look):
    target = fivetran.server.add_connection("rental", schedule_type="manual")
    fivetran.begin(target)
    fivetran.server.reschedule(target, -1)
    look(Watch(target, after=datetime.now(UTC).isoformat()))
    assert fivetran.outcomes(target) == ["rescheduled"]


def test_a_paused_connection_is_refused(fivetran, do):
    target = fivetran.server.add_connection("rental", paused=True)
    with pytest.raises(ConfigurationError, match="is paused"):
        do("start", fivetran.order(target), Kept())
    assert fivetran.server.asked("/sync$", "POST") == []


def test_a_connection_paused_while_it_syncs_has_cancelled_its_sync(fivetran, started, look):
    watch = started()
    fivetran.server.pause(watch.remote_id)
    seen = look(watch)
    assert (seen.phase, seen.word) == (Phase.CANCELLED, "paused")


@pytest.mark.parametrize("state", ["broken", "incomplete"])
def test_a_connection_that_needs_a_hand_is_refused(fivetran, do, state):
    target = fivetran.server.add_connection("rental", setup_state=state)
    with pytest.raises(ConfigurationError, match=f"is {state}"):
        do("start", fivetran.order(target), Kept())


def test_a_connection_that_breaks_while_it_syncs_fails_with_its_reason(fivetran, started, do, look):
    watch = started()
    fivetran.server.break_setup(watch.remote_id, "The password has expired.")
    assert look(watch).phase is Phase.ACTIVE  # it still syncs
    fivetran.server.set_sync_state(watch.remote_id, "scheduled")
    seen = look(watch)
    assert seen.phase is Phase.FAILED
    report = do("report", watch, seen)
    assert "The password has expired. (reconnect)" in report.reason
    assert report.retryable is False


def test_an_unknown_word_is_active(fivetran, started, look):
    watch = started()
    fivetran.server.set_sync_state(watch.remote_id, "daydreaming")
    seen = look(watch)
    assert (seen.phase, seen.known, seen.word) == (Phase.ACTIVE, False, "daydreaming")


def test_an_unknown_connection_is_named(fivetran, do, look):
    with pytest.raises(ConfigurationError, match=r"no 'nobody' \(404\)"):
        do("start", fivetran.order("nobody"), Kept())
    assert look(Watch("nobody", mark=str(Mark("", "")))).lost


def test_nothing_is_cancelled(fivetran, started, do):
    watch = started()
    assert do("cancel", watch) is False
    assert fivetran.outcomes(watch.remote_id) == ["running"]


# --- report ---


def test_a_report_names_the_enabled_tables(fivetran, started, do, look):
    watch = started()
    fivetran.end(watch.remote_id)
    report = do("report", watch, look(watch))
    assert report.status == "succeeded"
    assert [(one.namespace, one.name) for one in report.streams] == [("public", "customer"), ("public", "payment")]
    assert report.finished_at


def test_a_report_says_why_a_sync_failed(fivetran, started, do, look):
    watch = started()
    fivetran.server.fail(watch.remote_id, "quota", "The source says no.")
    report = do("report", watch, look(watch))
    assert (report.status, report.reason) == ("failed", "The source says no. (quota)")
    assert report.retryable is True


# --- many, and the account's rate ---


def test_thousands_are_looked_at_page_by_page(fivetran, do):
    targets = [fivetran.server.add_connection(f"schema_{number}") for number in range(2500)]
    watches = [Watch(target, mark=str(Mark("", ""))) for target in targets]
    for target in targets[::2]:
        fivetran.begin(target)
        fivetran.end(target)
    found = do("look", watches)
    assert sum(seen.phase is Phase.SUCCEEDED for seen in found.values()) == 1250
    assert len(found) == 2500
    assert len(fivetran.server.requests) == 3


def test_a_few_are_looked_at_by_their_ids(fivetran, do):
    for number in range(50):
        fivetran.server.add_connection(f"schema_{number}")
    do("look", [Watch(target, mark=str(Mark("", ""))) for target in list(fivetran.server.connections)[:3]])
    assert [seen.path for seen in fivetran.server.requests] == [
        f"/v1/connections/{target}" for target in list(fivetran.server.connections)[:3]
    ]


def test_pages_are_turned_no_further_than_needed(fivetran, do):
    targets = [fivetran.server.add_connection(f"schema_{number}") for number in range(2500)]
    do("look", [Watch(target, mark=str(Mark("", ""))) for target in targets[:500]])
    assert len(fivetran.server.requests) == 1


def test_one_that_is_not_there_among_many_is_lost_and_the_others_are_seen(fivetran, do):
    targets = [fivetran.target() for _ in range(10)]
    found = do("look", [Watch(target, mark=str(Mark("", ""))) for target in [*targets, "nobody"]])
    assert [watch.remote_id for watch, seen in found.items() if seen.lost] == ["nobody"]
    assert len(found) == 11


def test_a_used_up_quota_says_when_to_come_back(driver):
    with FivetranSystem(calls_per_hour=2) as fivetran:
        remote, target = fivetran.remote(), fivetran.target()
        driver(remote.start(fivetran.order(target), Kept()), fivetran.settings)
        with pytest.raises(RateLimitedError) as raised:
            driver(remote.look([Watch(target, mark=str(Mark("", "")))]), fivetran.settings)
        assert 3500 < raised.value.retry_after <= 3600
