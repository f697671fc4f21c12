"""Answers of an unexpected form, and runs that alone cannot be told of: they disturb nobody else."""

from __future__ import annotations

import asyncio

import pytest

from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.flow import readable, segment
from airflow_elt_provider.remotes.model import Phase, Watch
from tests.fakes.http_fake import Fault
from tests.remotes.poller_stories import begun, told, waiting
from tests.remotes.systems import DigdagSystem, FivetranSystem, Kept, OldAirbyte, PublicAirbyte

AFTER = "2026-01-01T00:00:00+00:00"


@pytest.fixture(params=[PublicAirbyte, OldAirbyte, FivetranSystem, DigdagSystem])
def system(request):
    with request.param() as found:
        yield found


BODIES = [[], None, "text", {}, {"data": None}, {"data": [None, {"jobId": "x"}]}, {"jobs": 7}, {"attempts": [[]]}]


@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_an_answer_of_an_unexpected_form_is_none(system, body, driver):
    remote = system.remote()
    watch = driver(remote.start(system.order(system.target()), Kept()), system.settings).watch
    system.server.inject(Fault("GET|POST", "/jobs|/connections|/attempts", status=200, body=body, times=None))
    try:
        found = driver(readable(remote.look([watch]), "x"), system.settings)
    except (TransientError, ConfigurationError):
        found = {}
    assert not [seen for seen in found.values() if seen.ended]


@pytest.mark.parametrize("odd", ["nothing of ours", "a/../b", "daily"])
def test_a_sensor_of_what_there_is_not_leaves_the_others_alone(system, odd):
    async def story(poller):
        watches = await begun(system, poller, 3)
        waits = [waiting(poller, watch, tolerance=20) for watch in watches]
        bad = waiting(poller, Watch(odd, after=AFTER), tolerance=30)
        await asyncio.sleep(0.3)
        for watch in watches:
            system.end(watch.remote_id)
        seen = await asyncio.gather(*waits)
        bad.cancel()
        await asyncio.gather(bad, return_exceptions=True)
        return [one.phase for one in seen]

    assert told(system, story) == [Phase.SUCCEEDED] * 3


@pytest.mark.parametrize("text", ["../users", "a?x=1", "a#f", "a/b", "%2e%2e"])
def test_an_id_stays_one_segment_of_the_path(text):
    assert not set("/?#") & set(segment(text))


@pytest.mark.parametrize("text", ["", " ", ".", ".."])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ConfigurationError):
        segment(text)


def test_an_error_with_status_200_is_no_empty_list_of_jobs(driver):
    with PublicAirbyte() as system:
        target = system.target()
        old = system.server.begin(target)
        system.server.finish(old)
        system.server.inject(Fault("GET", "/jobs$", status=200, body={"message": "temporarily unavailable"}))
        with pytest.raises(TransientError, match="without a list 'data'"):
            driver(system.remote().start(system.order(target), Kept()), system.settings)
        assert system.server.starts(target) == [old]


@pytest.mark.parametrize("policy", ["wait", "fail"])
@pytest.mark.parametrize("system", [PublicAirbyte, OldAirbyte, FivetranSystem], indirect=True)
def test_after_a_failure_what_somebody_else_runs_is_not_taken_for_ours(system, driver, policy):
    target, intents = system.target(), Kept()
    order = system.order(target, on_running=policy)
    driver(system.remote().start(order, intents), system.settings)
    system.end(target, "failed")
    system.begin(target)
    if policy == "fail":
        with pytest.raises(ConfigurationError):
            driver(system.remote().start(order, intents), system.settings)
    else:
        assert driver(system.remote().start(order, intents), system.settings).how == "waiting"


def test_an_attempt_of_another_digdag_is_not_killed(driver):
    with DigdagSystem() as system:
        target = system.target()
        system.begin(target)
        (foreign,) = system.server.starts(*target.split("/"))
        watch = Watch(target, foreign.id, "airflow-0123456789ab-0123456789ab-0")
        assert driver(system.remote().cancel(watch), system.settings) is False
        assert not system.server.killed
