"""A sync is started exactly once, whatever is lost on the way: the same stories for every engine, by both drivers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from airflow_elt_provider.errors import ConfigurationError, RateLimitedError
from airflow_elt_provider.remotes.flow import Request
from airflow_elt_provider.remotes.patience import patiently
from tests.fakes.http_fake import Fault
from tests.remotes.systems import SYSTEMS, DigdagSystem, FivetranSystem, Kept, System, quickly

LOST = [
    Fault("", "", when="before", then="cut"),
    Fault("", "", when="before", then="hang"),
    Fault("", "", when="before", status=503),
    Fault("", "", when="after", then="cut"),
    Fault("", "", when="after", then="hang"),
    Fault("", "", when="after", status=502),
    Fault("", "", when="before", status=429, headers={"Retry-After": "1"}, times=2),
    Fault("", "", when="after", then="cut", times=3),
]


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda system: system.name.replace(" ", "-"))
def server_of_all(request):
    with request.param() as running:
        yield running


@pytest.fixture
def system(server_of_all):
    yield server_of_all
    server_of_all.server.heal()
    server_of_all.ends_by_itself(None)
    server_of_all.server.requests.clear()


@pytest.fixture
def start(driver, system):
    """Give an order as an operator does: patiently."""

    def started(order, intents=None, *, before=lambda step: None):
        remote, kept = system.remote(), intents or Kept()
        flow = patiently(lambda: remote.start(order, kept), 60.0, "test")
        return driver(quickly(flow, timeout=0.3, before=before), system.settings)

    return started


def on_start_request(system: System, action):
    """Return what does something once, right before the request that starts a sync is sent."""
    done = []

    def look(step):
        starts = isinstance(step, Request) and step.method == system.start_method
        if starts and re.search(system.start_path, step.path) and not done:
            done.append(step)
            action()

    return look


def test_a_sync_is_started_once(system, start):
    target = system.target()
    started = start(system.order(target))
    assert (started.how, started.ours) == ("started", True)
    assert system.outcomes(target) == ["running"]


@pytest.mark.parametrize("fault", LOST, ids=lambda f: f"{f.when}-{f.then}-{f.status}-{f.times}")
def test_a_lost_answer_starts_nothing_twice(system, start, fault):
    target = system.target()
    system.server.inject(Fault(system.start_method, system.start_path, fault.when, fault.then, fault.status,
                               fault.headers, times=fault.times))  # fmt: skip
    started = start(system.order(target))
    assert started.ours
    assert system.outcomes(target) == ["running"]


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_run_that_ended_before_its_lost_answer_is_not_run_again(system, start, status):
    target = system.target()
    system.ends_by_itself(0.0, status)
    system.server.inject(Fault(system.start_method, system.start_path, "after", "cut"))
    start(system.order(target))
    expected = [status, "failed"] if isinstance(system, DigdagSystem) and status == "failed" else [status]
    assert system.outcomes(target) == expected  # digdag: a retry that resumes it, as for any attempt that failed


def test_a_retry_finds_the_run_that_is_under_way(system, start):
    target, intents = system.target(), Kept()
    first = start(system.order(target), intents)
    again = start(system.order(target), intents)
    assert again.how == "found"
    assert again.watch == first.watch
    assert system.outcomes(target) == ["running"]


def test_a_retry_finds_the_run_that_succeeded_while_nobody_watched(system, start):
    target, intents = system.target(), Kept()
    first = start(system.order(target), intents)
    system.end(target)
    again = start(system.order(target), intents)
    assert (again.how, again.watch) == ("found", first.watch)
    assert system.outcomes(target) == ["succeeded"]


def test_a_retry_after_a_failed_run_starts_a_new_one(system, start):
    target, intents = system.target(), Kept()
    first = start(system.order(target), intents)
    system.end(target, "failed")
    again = start(system.order(target), intents)
    assert again.how == "started"
    assert again.watch != first.watch
    assert system.outcomes(target) == ["failed", "running"]


def test_what_was_written_down_but_never_asked_for_is_started(system, start):
    target, intents = system.target(), Kept()

    class PowerCut(BaseException):
        pass

    def cut():
        raise PowerCut

    with pytest.raises(PowerCut):
        start(system.order(target), intents, before=on_start_request(system, cut))
    assert intents.mark is not None
    assert system.outcomes(target) == []
    assert start(system.order(target), intents).how == "started"
    assert system.outcomes(target) == ["running"]


def test_without_intents_a_retry_knows_its_runs_by_their_time(system, start):
    target, since = system.target(), datetime.now(UTC)
    start(system.order(target), Kept())
    again = start(system.order(target, since=since), Kept())
    assert again.how == "found"
    system.end(target)
    assert start(system.order(target, since=since), Kept()).how == "found"
    assert system.outcomes(target) == ["succeeded"]


def test_without_intents_a_retry_after_a_failed_run_starts_a_new_one(system, start):
    target, since = system.target(), datetime.now(UTC)
    start(system.order(target), Kept())
    system.end(target, "failed")
    assert start(system.order(target, since=since), Kept()).how == "started"
    assert system.outcomes(target) == ["failed", "running"]


def test_without_intents_an_older_run_is_nobodys(system, start):
    target = system.target()
    start(system.order(target, "yesterday"))
    system.end(target)
    later = datetime.now(UTC) + timedelta(seconds=2)
    assert start(system.order(target, since=later), Kept()).how == "started"
    assert system.outcomes(target) == ["succeeded", "running"]


def test_two_runs_of_a_task_are_two_syncs(system, start):
    target = system.target()
    start(system.order(target, "monday"))
    system.end(target)
    start(system.order(target, "tuesday"))
    assert system.outcomes(target) == ["succeeded", "running"]


def test_of_many_starters_at_once_one_starts(system, driver):
    target = system.target()

    def one(_):
        remote = system.remote()
        return driver(quickly(remote.start(system.order(target), Kept())), system.settings)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(one, range(8)))
    assert system.outcomes(target) == ["running"]
    assert len({started.watch for started in found}) == 1
    if not isinstance(system, FivetranSystem):  # that answers 200 to all of them
        assert sum(started.how == "started" for started in found) == 1


def test_a_sync_that_somebody_starts_in_between_is_adopted(system, start):
    target = system.target()
    started = start(system.order(target), before=on_start_request(system, lambda: system.begin(target)))
    assert started.ours
    if isinstance(system, DigdagSystem):  # it runs beside ours, under another name
        assert system.outcomes(target) == ["running", "running"]
    else:
        assert system.outcomes(target) == ["running"]


def test_a_sync_that_came_and_went_in_between_is_as_good_as_ours(system, start):
    target, intents = system.target(), Kept()

    def come_and_go():
        system.begin(target)
        system.end(target)

    start(system.order(target), intents, before=on_start_request(system, come_and_go))
    assert system.outcomes(target) == ["succeeded", "running"]
    assert start(system.order(target), intents).how == "found"


def test_a_server_that_asks_for_time_is_obeyed(system, driver):
    target = system.target()
    system.server.inject(
        Fault(system.start_method, system.start_path, status=429, headers={"Retry-After": "17"}, times=None)
    )
    with pytest.raises(RateLimitedError) as raised:
        driver(quickly(system.remote().start(system.order(target), Kept())), system.settings)
    assert raised.value.retry_after == 17
    assert system.outcomes(target) == []
    assert len(system.server.asked(system.start_path, system.start_method)) == 1


def test_somebody_elses_sync_is_waited_for_where_the_order_says_so(system, start):
    target = system.target()
    system.begin(target)
    started = start(system.order(target, on_running="wait"))
    assert (started.how, started.ours) == ("waiting", False)
    assert system.outcomes(target) == ["running"]
    system.end(target)
    assert start(system.order(target, on_running="wait")).how == "started"


def test_somebody_elses_sync_is_refused_where_the_order_says_so(system, start):
    target = system.target()
    system.begin(target)
    with pytest.raises(ConfigurationError, match="on_running='fail'"):
        start(system.order(target, on_running="fail"))
    assert system.outcomes(target) == ["running"]
