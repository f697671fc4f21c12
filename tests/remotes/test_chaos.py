"""Kill -9 at any moment, at every engine: no sync is lost, none runs twice, and no healthy one is cancelled."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tests.remotes.chaos_try import try_once
from tests.remotes.systems import DigdagSystem, FivetranSystem, OldAirbyte, PublicAirbyte

LIFE = 0.3
"""Seconds that a try takes when it is left alone, about."""
AT_ONCE = 4


class Tries:
    """Processes that are forked from one that has imported everything already."""

    def __init__(self):
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.remotes.chaos_try"])
        self._lock = threading.Lock()  # multiprocessing reads the exit codes of all children whenever one is started

    def start(self, *arguments):
        child = self._context.Process(target=try_once, args=arguments, daemon=True)
        with self._lock:
            child.start()
        return child

    def ended(self, child, seconds):
        """Wait so long for the end of a process; its exit code, None while it runs."""
        deadline = time.monotonic() + seconds
        while True:
            with self._lock:
                code = child.exitcode
            if code is not None or time.monotonic() >= deadline:
                return code
            time.sleep(0.003)


@pytest.fixture(scope="module")
def tries():
    return Tries()


def story(tries, system, folder, random):
    """Kill the tries of one task until one is left alone; how often one was killed, and what became of its syncs."""
    target, kills, code = system.target(), 0, None
    order, intents = system.order(target, key=target), folder / target.replace("/", "-")
    while code != 0:
        child = tries.start(type(system), system.server.url, order, intents)
        if kills == 0 or random.random() < 0.5:
            code = tries.ended(child, random.uniform(0.0, LIFE))
            child.kill()
        code = tries.ended(child, 60)
        assert code in {0, -9}
        kills += code == -9
    return kills, system.outcomes(target)


@pytest.mark.parametrize("kills", [25, pytest.param(200, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("kind", [PublicAirbyte, OldAirbyte, FivetranSystem, DigdagSystem], ids=lambda kind: kind.name)
def test_a_task_that_is_killed_at_any_moment_syncs_once(tries, tmp_path, record_property, kind, kills):
    random, done, results = Random(kills), 0, []
    with kind() as system, ThreadPoolExecutor(AT_ONCE) as threads:
        system.server.latency = 0.008  # so that the start is a good part of a try's life
        while done < kills:
            system.ends_by_itself(random.uniform(0.05, 0.15))
            for number, outcomes in threads.map(lambda _: story(tries, system, tmp_path, random), range(AT_ONCE)):
                done += number
                results.append(tuple(outcomes))
        cancelled = system.healthy_cancelled()
    lost, twice = (sum(condition) for condition in zip(*((not one, len(one) > 1) for one in results), strict=True))
    said = f"{done} kills of {len(results)} tasks: {lost} lost, {twice} twice, {len(cancelled)} cancelled"
    record_property("chaos", said)
    print(f"{kind.name}: {said}")
    assert Counter(results) == {("succeeded",): len(results)}
    assert cancelled == []
