"""How requests travel, and what it means when they do not arrive, through both drivers."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading

import pytest

from airflow_elt_provider.errors import AnswerLostError, UnreachableError
from airflow_elt_provider.remotes.flow import Request, Together, arun
from airflow_elt_provider.remotes.opening import open_session
from airflow_elt_provider.remotes.transports import MOST_AT_ONCE, HttpxTransport
from servers.processes import ReservedPort
from tests.fakes.http_fake import Fault
from tests.remotes.driving import asked, settings_of
from tests.remotes.echo import Echo

pytestmark = pytest.mark.lowest

GET = Request("GET", "/x")


@pytest.fixture(scope="module")
def running():
    with Echo() as server:
        yield server


@pytest.fixture
def server(running):
    running.heal()
    running.requests.clear()
    return running


def failed(driver, settings, kind, request=GET):
    with pytest.raises(kind) as caught:
        driver(asked(request), settings)
    assert type(caught.value) is kind
    return str(caught.value)


# --- what is sent ---


def test_a_request_arrives_as_it_was_meant(driver, server):
    request = Request("POST", "/a%2Fb", query=[("a", "1 &ü"), ("a", "2")], body={"x": "ü"}, headers={"X-Own": "mine"})
    answer = driver(asked(request), settings_of(f"{server.url}/prefix"))
    seen = server.requests[-1]
    assert answer.json()["path"] == "/prefix/a%2Fb?a=1+%26%C3%BC&a=2"
    assert (seen.method, seen.json()) == ("POST", {"x": "ü"})
    assert seen.headers["X-Own"] == "mine"
    assert seen.headers["Accept"] == seen.headers["Content-Type"] == "application/json"
    assert seen.headers["User-Agent"] == "airflow-elt-provider"
    assert answer.url == f"{server.url}/prefix/a%2Fb"


def test_bytes_are_sent_as_they_are(driver, server):
    body = bytes(range(256))
    driver(asked(Request("PUT", "/x", body=body, content_type="application/gzip")), settings_of(server.url))
    assert server.requests[-1].body == body
    assert server.requests[-1].headers["Content-Type"] == "application/gzip"


def test_headers_of_answers_are_found_by_their_lower_case_names(driver, server):
    server.inject(Fault("GET", "/x", status=404, headers={"X-Some-Thing": "a"}, body={"b": 1}))
    answer = driver(asked(GET), settings_of(server.url))
    assert (answer.status, answer.headers["x-some-thing"], answer.json()) == (404, "a", {"b": 1})
    assert answer.is_json


def test_no_redirect_is_followed(driver, server):
    answer = driver(asked(Request("GET", "/moved")), settings_of(server.url))
    assert (answer.status, answer.headers["location"]) == (302, "/elsewhere")
    assert [seen.path for seen in server.requests] == ["/moved"]


def test_no_cookie_is_kept(driver, server):
    def flow():
        first = yield Request("GET", "/cookie")
        yield GET
        return first

    assert "session=abc" in driver(flow(), settings_of(server.url)).headers["set-cookie"]
    assert [seen.path for seen in server.requests] == ["/cookie", "/x"]
    assert "Cookie" not in server.requests[-1].headers


def test_netrc_is_not_read(driver, server, tmp_path, monkeypatch):
    path = tmp_path / ".netrc"
    path.write_text("machine 127.0.0.1 login stranger password secret\ndefault login stranger password secret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    driver(asked(GET), settings_of(server.url))
    driver(asked(Request("GET", "/x", headers={"Authorization": "Bearer mine"})), settings_of(server.url))
    assert [seen.headers.get("Authorization") for seen in server.requests] == [None, "Bearer mine"]


def test_both_authorizations_reach_the_server(driver, server):
    headers = {"Authorization": "Basic a", "Proxy-Authorization": "Bearer b"}
    seen = driver(asked(Request("GET", "/x", headers=headers)), settings_of(server.url)).json()["headers"]
    assert (seen["authorization"], seen["proxy-authorization"]) == ("Basic a", "Bearer b")


def test_an_ipv6_address_is_reached(driver):
    with socket.socket(socket.AF_INET6) as listening:
        try:
            listening.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        port = listening.getsockname()[1]
    message = failed(driver, settings_of("::1", schema="http", port=port), UnreachableError)
    assert f"http://[::1]:{port}: connection refused" in message


# --- what does not arrive ---


def test_a_refused_connection_is_unreachable(driver):
    port = ReservedPort()
    url = f"http://127.0.0.1:{port.number}"
    message = failed(driver, settings_of(url), UnreachableError)
    port.release()
    assert message.startswith(f"GET /x at {url}: connection refused.")
    assert "does the server run" in message


def test_a_host_that_is_none_is_unreachable(driver):
    message = failed(driver, settings_of("http://no-such-host.invalid"), UnreachableError)
    assert message.startswith("GET /x at http://no-such-host.invalid: no such host.")
    assert "correct the host" in message


def test_an_answer_that_takes_too_long_is_lost(driver, server):
    server.inject(Fault("GET", "/x", then="hang"))
    message = failed(driver, settings_of(server.url, timeout=0.2), AnswerLostError)
    assert "no answer within 0.2 s" in message


def test_a_request_may_have_a_time_of_its_own(driver, server):
    server.inject(Fault("GET", "/x", then="hang"))
    message = failed(driver, settings_of(server.url), AnswerLostError, Request("GET", "/x", timeout=0.2))
    assert "no answer within 0.2 s" in message


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_was_cut_off_is_lost(driver, server, when):
    server.inject(Fault("POST", "/x", when=when, then="cut"))
    message = failed(driver, settings_of(server.url), AnswerLostError, Request("POST", "/x", body={}))
    assert message.startswith(f"POST /x at {server.url}: the connection broke (")
    assert len(server.asked("/x")) == 1  # it was not sent again


def test_an_answer_that_broke_off_in_its_middle_is_lost(driver):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        async def half(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            writer.close()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(asyncio.start_server(half, sock=listening))
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert "the connection broke" in failed(driver, settings_of(url), AnswerLostError)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_no_more_than_64_requests_of_one_event_loop_are_under_way(server):
    server.most_in_flight = 0

    async def story():
        transport = HttpxTransport(settings_of(server.url))

        def flow():
            yield Together([asked(Request("GET", "/crowd")) for _ in range(100)])

        await asyncio.gather(*(arun(flow(), transport) for _ in range(2)))
        await transport.aclose()

    asyncio.run(story())
    assert MOST_AT_ONCE == 64
    assert server.most_in_flight == 64
    assert len(server.requests) == 200


def test_basic_credentials_survive_every_character(driver, server):
    settings = settings_of(server.url, login=":ser", password="p:ä€ß")
    driver(open_session(settings).ask(GET), settings)
    shown = server.requests[-1].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(shown).decode() == ":ser:p:ä€ß"
