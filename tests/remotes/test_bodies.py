"""Answers that never end, or would fill the memory, in both drivers."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
import zlib

import pytest

from airflow_elt_provider.errors import AnswerLostError
from airflow_elt_provider.remotes import bodies, transports
from airflow_elt_provider.remotes.bodies import Body
from airflow_elt_provider.remotes.flow import Request
from airflow_elt_provider.remotes.transports import HttpxTransport
from servers.event_loop import LoopbackServer
from tests.remotes.driving import asked, settings_of

pytestmark = pytest.mark.lowest

GET = Request("GET", "/x")
DRIP = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"


class Says(LoopbackServer):
    """Answers every request with these bytes; then drips more, if told to."""

    def __init__(self, said, drip=False):
        super().__init__()
        self.said, self.drip, self.connections = said, drip, 0
        self.asked = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader, writer):
        self.connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.asked.set()
            writer.write(self.said)
            await writer.drain()
            while self.drip:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)


def answer(body, coding="", status=200):
    head = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Encoding: {coding}\r\n\r\n".encode() + body


def lost(driver, said, drip=False, **fields):
    with Says(said, drip) as server, pytest.raises(AnswerLostError) as caught:
        driver(asked(GET), settings_of(server.url, **fields))
    return str(caught.value)


@pytest.mark.parametrize("said", [DRIP, CHUNKED], ids=["length", "chunked"])
def test_a_body_that_drips_is_too_slow(driver, monkeypatch, said):
    monkeypatch.setattr(transports, "CONNECT_SECONDS", 0.2)
    started = time.monotonic()
    assert "the answer is too slow: it is not whole after 0.8 s" in lost(driver, said, drip=True, timeout=0.3)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_a_body_that_is_too_large_is_not_read_to_its_end(driver, coding, monkeypatch):
    monkeypatch.setattr(bodies, "MOST_BYTES", 4 << 20)
    pack = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[coding]
    assert "too large: more than 4 MiB" in lost(driver, answer(pack(bytes(64 << 20)), coding))


def test_the_most_is_64_mebibytes():
    body = Body("x", "", 60)
    for _ in range(64):
        body.add(bytes(1 << 20))
    with pytest.raises(AnswerLostError, match="64 MiB"):
        body.add(b"x")


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd"])
def test_a_coding_that_was_not_asked_for_is_refused(driver, coding):
    assert "which was not asked for" in lost(driver, answer(gzip.compress(b"{}"), coding))


def test_a_body_that_cannot_be_unpacked_is_lost(driver):
    assert "cannot be unpacked" in lost(driver, answer(b"no gzip", "gzip"))
    assert "broke off" in lost(driver, answer(gzip.compress(b"{}")[:-9], "gzip"))


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(b"{}", mtime=0) + gzip.compress(b" ", mtime=0), zlib.compress(b"{} ")],
    ids=["members", "zlib"],
)
def test_a_packed_body_is_unpacked_however_it_is_cut(packed):
    for size in (1, 3, 1000):
        body = Body("x", "GZIP", 60)
        for start in range(0, len(packed), size):
            body.add(packed[start : start + size])
        assert body.whole() == b"{} "


@pytest.mark.parametrize("packed", [bytes(3 << 20), b"", b"x"])
def test_a_packed_body_is_whole(driver, packed):
    with Says(answer(gzip.compress(packed), "gzip")) as server:
        assert driver(asked(GET), settings_of(server.url)).content == packed


@pytest.mark.parametrize("said", [
    answer(b"{}"), answer(gzip.compress(b"{}"), "gzip"), answer(b"{}", status=302),
    CHUNKED[:-7] + b"2\r\n{}\r\n0\r\n\r\n",
], ids=["plain", "packed", "redirect", "chunked"])  # fmt: skip
def test_connections_are_used_again(driver, said):
    def flow():
        for _ in range(3):
            assert (yield GET).content == b"{}"

    with Says(said) as server:
        driver(flow(), settings_of(server.url))
        assert server.connections == 1


def test_nothing_under_way_is_cut_by_closing():
    async def story(server):
        transport = HttpxTransport(settings_of(server.url))
        first = asyncio.ensure_future(transport.send(GET))
        assert await asyncio.to_thread(server.asked.wait, 10)
        await transport.aclose()
        assert not first.done()
        client = transport._client
        assert client is not None
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await transport.aclose()
        assert client.is_closed
        assert transport._client is None

    with Says(b"") as server:
        asyncio.run(story(server))


def test_a_redirect_to_nowhere_is_an_answer(driver):
    said = b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\nContent-Length: 2\r\n\r\n{}"
    with Says(said) as server:
        seen = driver(asked(GET), settings_of(server.url))
    assert (seen.status, seen.headers["location"], seen.content) == (302, "http://[x", b"{}")
