"""HTTP proxies, by the connection and by the environment, and whom Proxy-Authorization is for."""

from __future__ import annotations

import base64

import pytest

from airflow_elt_provider.errors import ConfigurationError, UnreachableError
from airflow_elt_provider.remotes.flow import Request
from servers.certificates import Authority
from servers.processes import ReservedPort
from tests.fakes.connect_proxy import ConnectProxy
from tests.remotes.driving import asked, settings_of
from tests.remotes.echo import Echo, Tunnel

pytestmark = pytest.mark.lowest

TOKEN = "Bearer for-iap"
GET = Request("GET", "/x", headers={"Proxy-Authorization": TOKEN, "Authorization": "Basic own"})
HOST = "airbyte.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def running(authority):
    with Echo(certificate=authority.issue("server", [HOST, "127.0.0.1"])) as server:
        yield server


@pytest.fixture
def server(running):
    running.requests.clear()
    return running


@pytest.fixture
def tunnel(server):
    with Tunnel(server.port) as proxy:
        yield proxy


@pytest.fixture
def ca(authority):
    return str(authority.certificate)


def assert_passed(server, tunnel):
    """Check that the server saw both headers, and the proxy neither."""
    headers = server.requests[-1].headers
    assert (headers["Proxy-Authorization"], headers["Authorization"]) == (TOKEN, "Basic own")
    assert tunnel.heads[-1].startswith(f"CONNECT {HOST}:443 ")
    assert "for-iap" not in "".join(tunnel.heads)
    assert "Basic own" not in "".join(tunnel.heads)


def test_the_proxy_of_the_connection_is_used(driver, server, tunnel, ca):
    driver(asked(GET), settings_of(f"https://{HOST}", ca_bundle=ca, proxy=tunnel.url))
    assert_passed(server, tunnel)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_used(driver, server, tunnel, ca, monkeypatch, name):
    monkeypatch.setenv(name, tunnel.url.removeprefix("http://"))
    driver(asked(GET), settings_of(f"https://{HOST}", ca_bundle=ca))
    assert_passed(server, tunnel)


def test_the_proxy_of_the_connection_wins_over_the_environment(driver, server, tunnel, ca, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    driver(asked(GET), settings_of(f"https://{HOST}", ca_bundle=ca, proxy=tunnel.url))
    assert_passed(server, tunnel)


@pytest.mark.parametrize("exempt", ["127.0.0.1", "127.0.0.0/8", "*", "a.example, 127.0.0.1 ,b.example"])
def test_what_no_proxy_exempts_is_reached_directly(driver, server, tunnel, ca, monkeypatch, exempt):
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    answer = driver(asked(GET), settings_of(server.url, ca_bundle=ca))
    assert answer.json()["headers"]["proxy-authorization"] == TOKEN
    assert tunnel.heads == []


@pytest.mark.parametrize("exempt", ["other.example.com", "10.0.0.0/8", ""])
def test_what_no_proxy_does_not_exempt_goes_through(driver, server, tunnel, ca, monkeypatch, exempt):
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    driver(asked(GET), settings_of(f"https://{HOST}", ca_bundle=ca))
    assert_passed(server, tunnel)


def test_a_proxy_with_a_login_gets_its_own_header_and_the_server_ours(driver, server, ca):
    with Tunnel(server.port, login="me:hush") as tunnel:
        driver(
            asked(GET), settings_of(f"https://{HOST}", ca_bundle=ca, proxy=f"http://me:hush@127.0.0.1:{tunnel.port}")
        )
        assert_passed(server, tunnel)
        assert base64.b64encode(b"me:hush").decode() in tunnel.heads[-1]
        assert "me:hush" not in str(dict(server.requests[-1].headers))


@pytest.mark.parametrize("login", ["", "me:wr0ng@"])
def test_a_proxy_that_wants_a_login_says_so(driver, server, ca, login):
    with Tunnel(server.port, login="me:hush") as tunnel:
        settings = settings_of(f"https://{HOST}", ca_bundle=ca, proxy=f"http://{login}127.0.0.1:{tunnel.port}")
        with pytest.raises(ConfigurationError) as caught:
            driver(asked(GET), settings)
    message = str(caught.value)
    assert f"through the HTTP proxy 127.0.0.1:{tunnel.port}: the HTTP proxy wants a login (407)" in message
    assert "http://user:password@host:port" in message
    assert "wr0ng" not in message


def test_a_proxy_that_refuses_is_told_apart(driver, tmp_path):
    with ConnectProxy({}, tmp_path) as proxy, pytest.raises(UnreachableError) as caught:
        driver(asked(GET), settings_of(f"https://{HOST}", proxy=proxy.url))
    assert "the HTTP proxy refused" in str(caught.value)
    assert "HTTPS_PROXY and NO_PROXY" in str(caught.value)
    assert proxy.seen == [HOST]


def test_a_proxy_that_is_not_there_is_named_without_its_password(driver):
    port = ReservedPort()
    with pytest.raises(UnreachableError) as caught:
        driver(asked(GET), settings_of(f"https://{HOST}", proxy=f"http://me:hush@127.0.0.1:{port.number}"))
    port.release()
    assert f"at https://{HOST} through the HTTP proxy 127.0.0.1:{port.number}: " in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_proxy_that_ends_tls_needs_its_authority(driver, tmp_path):
    with Echo() as plain, ConnectProxy({HOST: plain.port}, tmp_path) as proxy:
        settings = settings_of(f"https://{HOST}", proxy=proxy.url, ca_bundle=str(proxy.ca_file))
        assert driver(asked(GET), settings).json()["headers"]["proxy-authorization"] == TOKEN
        with pytest.raises(ConfigurationError, match="certificate was refused"):
            driver(asked(GET), settings_of(f"https://{HOST}", proxy=proxy.url))


def test_requests_in_the_clear_go_through_a_proxy_too(driver):
    with Echo() as plain, Tunnel(plain.port) as tunnel:
        settings = settings_of("http://digdag.example.com", proxy=tunnel.url)
        assert driver(asked(GET), settings).json()["headers"]["authorization"] == "Basic own"
        assert tunnel.heads[0].startswith("GET http://digdag.example.com/x ")
        assert plain.requests[-1].headers["Proxy-Authorization"] == TOKEN


UNUSABLE = ["socks5://me:hush@h:1", "socks5h://me:hush@h:1"]


@pytest.mark.parametrize("proxy", UNUSABLE)
def test_a_proxy_of_the_connection_that_no_client_can_use_is_named(driver, proxy):
    message = refused(driver, settings_of(f"https://{HOST}", proxy=proxy, conn_id="my_conn"))
    assert "The proxy of connection 'my_conn' speaks socks5" in message


@pytest.mark.parametrize(
    "proxy", [*UNUSABLE, "ftp://me:hush@h", "http://me:hush@h:port", "http://me:hush@[x", "http://"]
)
def test_a_proxy_of_the_environment_that_no_client_can_use_is_named(driver, monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert "The proxy of the environment (HTTPS_PROXY and the like)" in refused(driver, settings_of(f"https://{HOST}"))


def refused(driver, settings):
    with pytest.raises(ConfigurationError) as caught:
        driver(asked(GET), settings)
    assert "hush" not in str(caught.value)
    return str(caught.value)
