"""The power is cut before and after every single step of a start; the next try finds or does what is left to do."""

from __future__ import annotations

import pytest

from airflow_elt_provider.errors import EltError
from airflow_elt_provider.remotes.patience import patiently
from tests.fakes.http_fake import Fault
from tests.remotes.driving import driven_by_requests
from tests.remotes.systems import SYSTEMS, Kept, quickly


class PowerCut(BaseException):
    """Nothing of ours catches it."""


class Breaker:
    """Counts the moments at which the power may fail, and fails at one of them."""

    def __init__(self, moment):
        self.left = moment

    def moment(self):
        self.left -= 1
        if self.left == 0:
            raise PowerCut

    def around_steps(self, flow):
        """Drive a flow with a moment before and one after each step."""
        try:
            step = next(flow)
            while True:
                self.moment()
                try:
                    given = yield step
                except EltError as error:
                    self.moment()
                    step = flow.throw(error)
                else:
                    self.moment()
                    step = flow.send(given)
        except StopIteration as end:
            return end.value


class KeptUntilTheCut(Kept):
    """Has a moment before and one after each writing."""

    breaker: Breaker

    def write(self, mark):
        self.breaker.moment()
        super().write(mark)
        self.breaker.moment()


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda system: system.name.replace(" ", "-"))
def system(request):
    with request.param() as running:
        yield running


def story(driver, system, moment, fault, meanwhile):
    """Cut at the n-th moment, then try again; whether there was such a moment."""
    target, intents = system.target(), KeptUntilTheCut()
    if fault:
        system.server.inject(Fault(system.start_method, system.start_path, fault, "cut"))
    cut = False
    for intents.breaker in (Breaker(moment), Breaker(0)):
        flow = patiently(lambda: system.remote().start(system.order(target), intents), 30.0, "test")
        try:
            started = driver(intents.breaker.around_steps(quickly(flow, longest=0.0)), system.settings)
        except PowerCut:
            cut = True
            if meanwhile == "ends" and system.outcomes(target):
                system.end(target)
    system.server.heal()
    outcomes = system.outcomes(target)
    assert started.ours
    assert len(outcomes) == 1, f"cut at moment {moment}"
    assert outcomes == ["running"] or (meanwhile == "ends" and outcomes == ["succeeded"])
    return cut


HEAVY = pytest.param("before", marks=pytest.mark.heavy)


@pytest.mark.parametrize("meanwhile", ["runs", "ends"])
def test_a_cut_at_any_step_of_a_start_leads_to_one_sync(driver, system, meanwhile):
    moment = 1
    while story(driver, system, moment, None, meanwhile):
        moment += 1
    assert moment > 6


@pytest.mark.parametrize("meanwhile", ["runs", "ends"])
@pytest.mark.parametrize("lost", ["after", HEAVY])
def test_a_cut_while_a_lost_answer_is_looked_for_leads_to_one_sync(system, lost, meanwhile):
    moment = 1
    while story(driven_by_requests, system, moment, lost, meanwhile):
        moment += 1
    assert moment > 10
