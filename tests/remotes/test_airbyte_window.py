"""Thousands of Airbyte jobs by at most a hundred requests a round, whatever changes while pages are turned."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_elt_provider.remotes.airbyte_window import MOST_PAGES, MOST_REQUESTS, PAGE
from airflow_elt_provider.remotes.model import Phase, Watch
from tests.remotes.changing_jobs import BEGIN, ENDED, World
from tests.remotes.systems import PublicAirbyte


def settled(jobs):
    """Return a world with so many jobs under way, watched for some rounds."""
    world = World()
    watches = world.watches(world.begin(jobs))
    for _ in range(5):
        world.look(watches)
    return world, watches


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    jobs=st.integers(1, 3000),
    restless=st.sampled_from([0, 1, 5, 50, 200]),
    rounds=st.integers(1, 8),
    later=st.sampled_from([1.0, 10.0, 60.0]),
)
def test_whatever_changes_while_pages_are_turned_every_end_is_noticed(seed, jobs, restless, rounds, later):
    random = Random(seed)
    world = World(random, restless)
    waiting: dict[Watch, None] = {}
    for number in range(rounds):
        joining = world.begin(random.choice((0, 1, 20, 21, jobs)) if number else jobs)
        waiting |= dict.fromkeys(world.watches(joining))
        found, requests = world.look(waiting, later)
        assert requests <= MOST_REQUESTS
        for watch, seen in found.items():
            if seen.ended:
                assert world.rows[int(watch.job_id)].status in ENDED
                del waiting[watch]
    world.restless = 0
    world.end_all()
    # In two rounds but for what slipped through between pages more than once; that is asked for after five minutes.
    most = 4 + int(300 / later) + len(waiting) // (MOST_REQUESTS - MOST_PAGES)
    world.rounds_until_noticed(waiting, most, later)


@pytest.mark.parametrize("restless", [1, 5, 20])
def test_next_to_nothing_slips_through_between_pages(restless):
    world, watches = settled(4000)
    world.restless = restless
    open_since: dict[str, int] = {}
    late = 0
    waiting = dict.fromkeys(watches)
    for number in range(40):
        for watch, seen in world.look(waiting)[0].items():
            if seen.ended:
                del waiting[watch]
                late += number - open_since.get(watch.job_id, number) > 2
        for watch in waiting:
            if world.rows[int(watch.job_id)].status in ENDED:
                open_since.setdefault(watch.job_id, number)
    assert late <= 0.01 * (4000 - len(waiting))


def test_a_quiet_round_costs_one_request_however_many_wait():
    world, watches = settled(5000)
    assert world.look(watches) == ({}, 1)


def test_an_end_is_noticed_in_the_next_round():
    world, watches = settled(5000)
    world.change(1234, "failed")
    found, requests = world.look(watches)
    assert (found[watches[1233]].phase, requests) == (Phase.FAILED, 1)


def test_all_ends_at_once_are_noticed_in_one_round():
    world, watches = settled(7000)
    world.end_all()
    assert world.rounds_until_noticed(watches, 1) == 1


def test_more_ends_than_one_round_can_list_are_noticed_in_the_next():
    world, watches = settled(20_000)
    world.end_all(apart=0.02)
    assert world.rounds_until_noticed(watches, 4) <= 4


def test_more_changes_in_one_second_than_one_round_can_list_hold_nobody_up_for_ever():
    world, watches = settled(10_000)
    for job in list(world.running):
        world.change(job, "succeeded")  # all at the same time
    (late,) = world.watches(world.begin())
    world.look([*watches, late])
    world.change(int(late.job_id), "succeeded", after=30)
    assert world.rounds_until_noticed([late], 3) <= 3
    assert world.rounds_until_noticed(watches, 60) <= 52  # what is beyond the last page is asked for by itself


def test_many_new_ones_far_back_are_reached_without_asking_for_each():
    world, old = settled(100)
    first = world.begin(3000)
    for job in world.begin(30_000):
        world.change(job, "succeeded")
    world.end_all()
    world.look(old)
    before = world.requests
    assert world.rounds_until_noticed([*old, *world.watches(first)], 6) <= 6
    assert world.requests - before < 500


def test_a_way_back_does_not_hide_what_others_do_meanwhile():
    world, old = settled(100)
    first = world.begin(50)
    for job in world.begin(25_000):
        world.change(job, "succeeded", after=0.02)
    world.look([*old, *world.watches(first)])
    for job in range(1, 101):
        world.change(job, "succeeded")
    assert world.rounds_until_noticed(old, 6) <= 6


def test_few_new_ones_are_asked_for_by_themselves():
    world, watches = settled(1000)
    joining = world.watches(world.begin(20))
    found, requests = world.look([*watches, *joining])
    assert set(joining) <= set(found)
    assert requests <= 21


def test_a_forgotten_job_is_lost_and_asked_for_again_after_five_minutes():
    world = World()
    (watch,) = world.watches(world.begin())
    world.look([watch])
    world.forgotten.add(1)
    assert world.look([watch], later=200) == ({}, 1)
    assert world.look([watch], later=200)[0][watch].lost
    assert world.look([watch], later=200)[0] == {}
    assert world.look([watch], later=200)[0][watch].lost


def test_what_was_forgotten_from_the_start_is_asked_for_in_every_round():
    world = World()
    (watch,) = world.watches(world.begin())
    world.forgotten.add(1)
    for _ in range(3):
        found, requests = world.look([watch])
        assert found[watch].lost
        assert requests == 1


def test_a_sensor_alone_is_served_in_every_round():
    world = World()
    (job,) = world.begin()
    sensor = Watch(f"c{job}", after=(BEGIN + timedelta(seconds=5)).isoformat())
    assert world.look([sensor])[0][sensor].phase is Phase.ACTIVE
    world.change(job, "succeeded")
    found, requests = world.look([sensor])
    assert (found[sensor].job_id, found[sensor].phase, requests) == (str(job), Phase.SUCCEEDED, 1)


def test_a_sensor_of_a_connection_without_jobs_is_served_as_soon_as_there_is_one():
    world = World()
    sensor = Watch("c1", after=BEGIN.isoformat())
    for _ in range(3):
        assert world.look([sensor]) == ({}, 1)
    world.begin()
    world.change(1, "succeeded")
    assert world.look([sensor])[0][sensor].ended


def test_an_old_success_does_not_serve_a_sensor():
    world = World()
    (job,) = world.begin()
    world.change(job, "succeeded", after=5)
    sensor = Watch(f"c{job}", after=(BEGIN + timedelta(seconds=60)).isoformat())
    assert not world.look([sensor], later=100)[0][sensor].ended
    assert world.look([sensor]) == ({}, 1)


def test_those_who_left_are_forgotten():
    world, watches = settled(500)
    world.look(watches[:3])
    assert len(world.window._seen) <= 3
    assert len(world.window._reached) <= 3


# --- against the fake server, by both drivers ---


def test_a_thousand_jobs_of_a_server_take_few_requests(driver):
    with PublicAirbyte() as airbyte:
        remote = airbyte.remote()
        begun = [airbyte.server.begin(airbyte.target()) for _ in range(1000)]
        watches = [Watch(job.connection_id, str(job.id), (BEGIN - timedelta(days=300)).isoformat())
                   for job in map(airbyte.server.job, begun)]  # fmt: skip
        assert len(driver(remote.look(watches), airbyte.settings)) == 1000
        for job in begun[::2]:
            airbyte.server.finish(job)
        seen = driver(remote.look(watches), airbyte.settings)
        assert sum(one.ended for one in seen.values()) == 500
        assert len(airbyte.server.requests) <= 1 + 2 * (1000 // PAGE + 8)


def test_a_reset_does_not_serve_a_sensor(driver):
    with PublicAirbyte() as airbyte:
        target, remote = airbyte.target(), airbyte.remote()
        airbyte.server.finish(airbyte.server.begin(target))
        sensor = Watch(target, after=(BEGIN + timedelta(days=20_000)).isoformat())
        other = Watch(target, after=(BEGIN - timedelta(days=300)).isoformat())
        driver(remote.look([sensor]), airbyte.settings)
        airbyte.server.finish(airbyte.server.begin(target, "reset"))
        found = driver(remote.look([sensor, other]), airbyte.settings)
        assert [one.job_id for one in found.values() if one.ended] == ["1"]
        assert all("jobType=sync" in seen.query for seen in airbyte.server.asked("/jobs$"))
