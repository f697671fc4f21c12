"""One conversation, two drivers: what a flow yields and what it is sent are the same in both."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.flow import Answer, Call, Pause, Request, Together, arun, run

pytestmark = pytest.mark.lowest


class Said:
    """A transport without a network: answers with the path, raises what it is told."""

    def __init__(self, errors=None):
        self.errors = errors or {}
        self.asked = []

    def send(self, request):
        self.asked.append(request.path)
        if request.path in self.errors:
            raise self.errors[request.path]
        return Answer(200, {}, request.path.encode(), "http://said" + request.path)


class SaidLater(Said):
    async def send(self, request):
        await asyncio.sleep(0)
        return Said.send(self, request)


@pytest.fixture(params=["run", "arun"])
def drive(request):
    """Drive a flow with a transport that raises these errors; return the outcome and what was asked."""

    def drive(flow, errors=None):
        if request.param == "run":
            transport = Said(errors)
            return run(flow, transport), transport.asked
        later = SaidLater(errors)
        return asyncio.run(arun(flow, later)), later.asked

    return drive


def ask(path):
    answer = yield Request("GET", path)
    return answer.text


def fail(error):
    yield from ()
    raise error


def test_a_flow_is_sent_the_answer_to_each_request_and_returns_its_outcome(drive):
    def flow():
        one = yield Request("GET", "/one")
        two = yield Request("GET", "/two")
        return one.text + two.text

    assert drive(flow()) == ("/one/two", ["/one", "/two"])


def test_a_flow_without_a_step_has_an_outcome(drive):
    def flow():
        yield from ()
        return 7

    assert drive(flow()) == (7, [])


def test_an_error_of_the_transport_is_thrown_into_the_flow_which_may_go_on(drive):
    def flow():
        try:
            yield Request("GET", "/lost")
        except AnswerLostError as error:
            return str(error), (yield from ask("/again"))

    outcome, asked = drive(flow(), {"/lost": AnswerLostError("gone")})
    assert (outcome, asked) == (("gone", "/again"), ["/lost", "/again"])


def test_an_error_that_the_flow_does_not_catch_reaches_the_caller_as_it_was(drive):
    error = ConfigurationError("wrong", hint="right")
    with pytest.raises(ConfigurationError) as caught:
        drive(ask("/wrong"), {"/wrong": error})
    assert caught.value is error


def test_an_exception_that_is_not_ours_is_not_offered_to_the_flow(drive):
    def flow():
        try:
            yield Call(lambda: 1 // 0)
        except EltError:
            return "swallowed"

    with pytest.raises(ZeroDivisionError):
        drive(flow())


def test_a_call_returns_its_value_and_throws_its_error(drive):
    def refuse():
        raise TransientError("busy")

    def flow():
        value = yield Call(lambda: 41 + 1)
        try:
            yield Call(refuse)
        except TransientError as error:
            return value, error.message

    assert drive(flow())[0] == (42, "busy")


def test_a_call_leaves_the_event_loop_alone():
    def flow():
        return (yield Call(threading.get_ident))

    assert asyncio.run(arun(flow(), SaidLater())) != threading.get_ident()
    assert run(flow(), Said()) == threading.get_ident()


def test_a_pause_waits(drive):
    def flow():
        began = time.monotonic()
        yield Pause(0.05)
        return time.monotonic() - began

    assert drive(flow())[0] >= 0.045


def test_the_sleep_that_a_worker_gives_is_used_and_may_end_the_flow():
    class Killed(Exception):  # noqa: N818
        pass

    slept = []

    def sleep(seconds):
        slept.append(seconds)
        raise Killed

    def flow():
        yield Pause(3600)

    with pytest.raises(Killed):
        run(flow(), Said(), sleep)
    assert slept == [3600]


def test_the_outcomes_of_flows_together_keep_their_order(drive):
    def slow(seconds, path):
        yield Pause(seconds)
        return (yield from ask(path))

    def flow():
        return (yield Together([slow(0.03, "/a"), slow(0.0, "/b"), ask("/c")]))

    assert drive(flow())[0] == ["/a", "/b", "/c"]


def test_nothing_together_is_an_empty_list(drive):
    def flow():
        return (yield Together([]))

    assert drive(flow())[0] == []


def test_when_one_of_many_fails_all_are_driven_to_their_end_and_the_first_failure_is_thrown(drive):
    def flow():
        try:
            yield Together([ask("/a"), ask("/b"), ask("/c"), ask("/d")])
        except EltError as error:
            return error.message

    outcome, asked = drive(flow(), {"/b": TransientError("first"), "/c": ConfigurationError("second")})
    assert outcome == "first"
    assert sorted(asked) == ["/a", "/b", "/c", "/d"]


def test_an_exception_that_is_not_ours_comes_through_from_flows_together(drive):
    def flow():
        try:
            return (yield Together([ask("/a"), fail(KeyError("bug"))]))
        except EltError:
            return "swallowed"

    with pytest.raises(KeyError):
        drive(flow())


def test_flows_together_nest(drive):
    def pair(one, two):
        return (yield Together([ask(one), ask(two)]))

    def flow():
        return (yield Together([pair("/a", "/b"), pair("/c", "/d")]))

    assert drive(flow())[0] == [["/a", "/b"], ["/c", "/d"]]


def test_an_event_loop_drives_flows_at_once():
    def waiting():
        yield Pause(0.1)

    def flow():
        yield Together([waiting() for _ in range(20)])

    began = time.monotonic()
    asyncio.run(arun(flow(), SaidLater()))
    assert time.monotonic() - began < 1


def test_a_cancelled_flow_cancels_what_it_began():
    ended = []

    def forever():
        try:
            yield Pause(3600)
        finally:
            ended.append(1)

    def flow():
        yield Together([forever(), forever()])

    async def story():
        task = asyncio.ensure_future(arun(flow(), SaidLater()))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert ended == [1, 1]


def test_a_body_is_sent_as_json_or_as_the_bytes_that_it_is():
    assert Request("POST", "/", body={"a": 1}).payload() == b'{"a": 1}'
    assert Request("POST", "/", body=b"\x00").payload() == b"\x00"
    assert Request("GET", "/").payload() is None
    assert Request("POST", "/", body=[]).payload() == b"[]"


def test_the_headers_of_a_request_win_over_those_that_are_added():
    assert Request("GET", "/", headers={"A": "own"}).with_headers({"A": "theirs", "B": "b"}).headers == {
        "A": "own",
        "B": "b",
    }


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_an_answer_knows_json_by_its_content_type(kind):
    assert Answer(200, {"content-type": kind}, b"{}", "http://x/").is_json
    assert not Answer(200, {"content-type": "text/html"}, b"{}", "http://x/").is_json
    assert not Answer(200, {}, b"{}", "http://x/").is_json


def test_json_that_broke_off_is_a_fault_of_the_moment():
    with pytest.raises(TransientError, match="http://x/jobs answered 200 with something that is no JSON"):
        Answer(200, {}, b'{"jobs": [', "http://x/jobs").json()
