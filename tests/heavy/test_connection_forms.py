"""The connection forms in a browser, against a running Airflow: fill in, save, press Test, read the message."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from servers.airflow import AirflowServer
from servers.browser import chromium, page
from servers.certificates import Authority
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.digdag import FakeDigdag
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.google import FakeGoogle
from tests.fakes.iap import FakeIap

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(600),
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine (apt-get install chromium)"),
]
ACCOUNT = "composer@proj.iam.gserviceaccount.com"
SHOTS = Path(__file__).parents[2] / ".cache" / "screenshots"


class Connections:
    """The page with the connections."""

    def __init__(self, browser, airflow):
        self.browser, self.airflow = browser, airflow
        browser.set_default_timeout(30_000)

    def open_form(self, title):
        self.browser.goto(f"{self.airflow.url}/connections")
        self.browser.get_by_role("button", name="Add Connection").first.click()
        self.browser.locator("input[name='connection_id']").fill("tried")
        self.browser.get_by_role("combobox").first.click()
        self.browser.keyboard.type(title)
        self.browser.get_by_role("option", name=title, exact=True).click()
        self.browser.locator("input[name='host']").wait_for()

    def open_extra_fields(self):
        self.browser.get_by_role("button", name="Extra Fields", exact=True).click()
        self.browser.locator("[name='element_timeout']").wait_for(state="visible")

    def fill(self, **fields):
        for name, value in fields.items():
            self.browser.locator(f"[name='{name}']").fill(str(value))

    def choose(self, field, value):
        self.browser.locator(f"#element_{field}").click()
        self.browser.get_by_role("option", name=value, exact=True).click()

    def shoot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.browser.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)

    def save(self):
        self.browser.get_by_role("button", name="Save").click()
        self.browser.get_by_role("button", name="Test Connection").wait_for()

    def press_test(self, name):
        self.browser.get_by_role("button", name="Test Connection").click()
        toast = self.browser.get_by_text(re.compile("Test Connection (Failed|Success|Succe)")).first
        toast.wait_for()
        message = self.browser.inner_text("body").split("Test Connection")[-1]
        self.shoot(name)
        return " ".join(message.split())

    def delete(self):
        request = urllib.request.Request(f"{self.airflow.url}/api/v2/connections/tried", method="DELETE")
        request.add_header("Authorization", f"Bearer {self.airflow._token}")
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=20):
            pass


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    dags = tmp_path_factory.mktemp("dags")
    with AirflowServer(dags, {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    with page() as found:
        yield found


@pytest.fixture
def connections(browser, airflow):
    found = Connections(browser, airflow)
    yield found
    found.delete()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("authority"))


@contextmanager
def behind_iap(google, tmp_path, *, members=(ACCOUNT,), **options):
    with FakeAirbyte(config="current") as airbyte, FakeIap(google, airbyte.url, members=members, **options) as iap:
        yield iap, google.service_account(ACCOUNT, tmp_path / "key.json").read_text()


def fill_in(connections, server, key="", **extra):
    connections.open_form("Airbyte (ELT)")
    connections.fill(host=server.url.rpartition(":")[0], port=server.port)
    connections.open_extra_fields()
    connections.fill(**{f"element_{name}": value for name, value in extra.items()})
    if key:
        connections.fill(element_keyfile_dict=key)
    connections.save()


def test_all_is_well_behind_iap(connections, tmp_path):
    with FakeGoogle() as google, behind_iap(google, tmp_path) as (iap, key):
        connections.open_form("Airbyte (ELT)")
        connections.fill(host="http://127.0.0.1", port=iap.port)
        connections.open_extra_fields()
        connections.fill(element_iap_audience=iap.audience, element_keyfile_dict=key)
        connections.choose("iap_mode", "id_token")
        connections.shoot("form-airbyte")
        connections.save()
        message = connections.press_test("all-is-well")
        assert "public API answers" in message
        assert [one.status for one in iap.log if one.status != 200] == []


def test_the_saved_secrets_are_masked(connections, airflow):
    secrets = {
        "keyfile_dict": '{"a": "KEYSECRET"}',
        "client_private_key": "PEMSECRET",
        "proxy": "http://u:PROXYSECRET@h",
    }
    connections.open_form("Airbyte (ELT)")
    connections.fill(host="https://airbyte.example.com", login="me", password="WORDSECRET")
    connections.open_extra_fields()
    connections.fill(**{f"element_{name}": value for name, value in secrets.items()})
    connections.save()
    shown = json.dumps(airflow._get("/api/v2/connections/tried"))
    assert "SECRET" not in shown
    assert shown.count("***") == 4
    connections.browser.reload()
    assert "SECRET" not in connections.browser.content()


def refused(connections, name, server, key="", **extra):
    fill_in(connections, server, key, **extra)
    message = connections.press_test(name)
    assert "Failed" in message
    return message


def test_no_such_host(connections):
    connections.open_form("Airbyte (ELT)")
    connections.fill(host="https://airbyte.invalid", port=443)
    connections.save()
    assert "no such host" in connections.press_test("no-such-host")


def test_a_certificate_of_an_unknown_authority(connections, authority):
    with FakeAirbyte(certificate=authority.issue("server", ["127.0.0.1"])) as server:
        message = refused(connections, "certificate", server)
        assert "certificate was refused" in message
        assert "ca_bundle" in message


def test_a_certificate_of_our_own_authority(connections, authority):
    with FakeAirbyte(certificate=authority.issue("server", ["127.0.0.1"])) as server:
        fill_in(connections, server, ca_bundle=authority.certificate)
        assert "answers" in connections.press_test("own-authority")


def test_a_login_page(connections, tmp_path):
    with FakeGoogle() as google, behind_iap(google, tmp_path) as (iap, _):
        assert "no token was sent" in refused(connections, "login-page", iap)


def test_a_wrong_audience(connections, tmp_path):
    with FakeGoogle() as google, behind_iap(google, tmp_path) as (iap, key):
        message = refused(connections, "audience", iap, key, iap_audience="999-zzz.apps.googleusercontent.com")
        assert "wrong audience" in message
        assert iap.audience in message


def test_a_missing_role(connections, tmp_path):
    with FakeGoogle() as google, behind_iap(google, tmp_path, members=()) as (iap, key):
        assert "roles/iap.httpsResourceAccessor" in refused(connections, "role", iap, key, iap_audience=iap.audience)


@pytest.mark.parametrize(("name", "seconds", "ahead"), [("expired", -60, 0), ("future", 3600, 200)])
def test_a_clock_that_is_wrong(connections, tmp_path, name, seconds, ahead):
    with FakeGoogle() as google, behind_iap(google, tmp_path) as (iap, key):
        google.token_seconds, google.clock_offset = seconds, ahead
        message = refused(connections, f"clock-{name}", iap, key, iap_audience=iap.audience)
        assert "has expired or is from the future" in message
        assert "NTP" in message


def test_a_wrong_dialect(connections):
    with FakeAirbyte(public=False, config="0.40") as server:
        connections.open_form("Airbyte (ELT)")
        connections.fill(host="http://127.0.0.1", port=server.port)
        connections.open_extra_fields()
        connections.choose("api", "public_v1")
        connections.save()
        assert "wrong API dialect" in connections.press_test("dialect")


def test_wrong_credentials(connections):
    with FakeAirbyte(config="current", auth="basic") as server:
        connections.open_form("Airbyte (ELT)")
        connections.fill(host="http://127.0.0.1", port=server.port, login="airbyte", password="wrong")
        connections.save()
        message = connections.press_test("credentials")
        assert "the application refused 'airbyte'" in message
        assert "wrong" not in message.replace("correct auth", "")


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_fivetran(connections, right):
    with FakeFivetran(key="key", secret="hush") as server:
        connections.open_form("Fivetran (ELT)")
        connections.fill(host="http://127.0.0.1", port=server.port, login="key", password="hush" if right else "no")
        connections.shoot("form-fivetran")
        connections.save()
        message = connections.press_test(f"fivetran-{right}")
        assert ("takes the key and secret" in message) == right


def test_digdag(connections):
    with FakeDigdag() as server:
        connections.open_form("Digdag (ELT)")
        connections.fill(host="http://127.0.0.1", port=server.port)
        connections.shoot("form-digdag")
        connections.save()
        assert "answers" in connections.press_test("digdag")
