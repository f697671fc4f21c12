"""What the fields of a connection mean, and what is refused, with the value, the place and the remedy."""

from __future__ import annotations

import json

import pytest

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.settings import parse_settings
from tests.remotes.driving import settings_of

pytestmark = pytest.mark.lowest

SECRET = "s3cr3t-value"
PEM = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"


def refused(**fields):
    """Return the message of the refusal; it names the connection and holds no secret."""
    url = fields.pop("url", "https://host")
    with pytest.raises(ConfigurationError) as caught:
        settings_of(url, conn_id="my_conn", **fields)
    message = str(caught.value)
    assert "'my_conn'" in message
    assert " Remedy: " in message
    assert SECRET not in message
    assert SECRET not in repr(caught.value)
    return message


# --- address ---


@pytest.mark.parametrize(
    ("host", "fields", "expected"),
    [
        ("airbyte.example.com", {}, "https://airbyte.example.com"),
        ("airbyte.example.com", {"schema": "http"}, "http://airbyte.example.com"),
        ("airbyte.example.com", {"schema": "http", "port": 8000}, "http://airbyte.example.com:8000"),
        ("http://airbyte.example.com", {"schema": "https"}, "http://airbyte.example.com"),
        ("HTTPS://airbyte.example.com/", {}, "https://airbyte.example.com"),
        ("https://example.com/airbyte/", {}, "https://example.com/airbyte"),
        ("example.com/airbyte", {"port": 81}, "https://example.com:81/airbyte"),
        ("https://example.com:8443/x/y", {"port": 81}, "https://example.com:8443/x/y"),
        (" https://example.com ", {}, "https://example.com"),
        ("127.0.0.1:8000", {"schema": "http"}, "http://127.0.0.1:8000"),
        ("https://[::1]:8443/x", {}, "https://[::1]:8443/x"),
        ("[::1]", {"schema": "http", "port": 8000}, "http://[::1]:8000"),
        ("::1", {"schema": "http", "port": 8000}, "http://[::1]:8000"),
        ("2001:db8::7", {}, "https://[2001:db8::7]"),
        ("bücher.example", {}, "https://bücher.example"),
    ],
)
def test_the_address_comes_from_host_schema_and_port(host, fields, expected):
    assert settings_of(host, **fields).base_url == expected


def test_the_origin_is_the_address_without_its_prefix():
    assert settings_of("https://example.com:8443/airbyte").origin == "https://example.com:8443"


def test_a_connection_without_a_host_takes_the_default_or_is_refused():
    parts = ConnectionParts("fivetran", "eltfivetran")
    assert parse_settings(parts, default_host="https://api.fivetran.com").base_url == "https://api.fivetran.com"
    with pytest.raises(ConfigurationError, match=r"'fivetran' has no host\. Remedy: give the server's name"):
        parse_settings(parts)


@pytest.mark.parametrize(
    ("host", "schema"),
    [
        ("ftp://host", None),
        ("host", "postgres"),
        ("https://", None),
        ("https://host:port", None),
        ("https://host:99999", None),
        ("https://[::1", None),
        ("https://my host", None),
        (f"https://{'a' * 70}.example", None),
    ],
)
def test_an_address_that_can_be_none_is_refused(host, schema):
    message = refused(url=host, schema=schema)
    assert repr(host) in message
    assert "https://host/prefix" in message


def test_a_query_in_the_address_is_refused_and_not_shown():
    assert "host='https://host/x'" in refused(url=f"https://host/x?token={SECRET}")


@pytest.mark.parametrize("host", [f"https://user:{SECRET}@host", f"user:{SECRET}@host", f"//user:{SECRET}@host"])
def test_a_password_in_the_address_is_refused_and_not_shown(host):
    assert "login and password have fields of their own" in refused(url=host)


# --- fields ---


def test_every_field_of_the_extra_arrives():
    settings = settings_of(
        "https://host",
        login="me",
        password=SECRET,
        auth="client_credentials",
        api="config_v1",
        auth_headers={"X-Tenant": "a", "X-Key": SECRET},
        ca_bundle="/ca.pem",
        client_cert="/client.pem",
        client_private_key=PEM,
        proxy=f"http://u:{SECRET}@proxy:3128",
        timeout="7.5",
        iap_mode="id_token",
        iap_audience="123.apps.googleusercontent.com",
        iap_impersonate=" middle@p , target@p,",
        keyfile_dict='{"type": "service_account"}',
    )
    assert (settings.auth, settings.user, settings.password) == ("client_credentials", "me", Secret(SECRET))
    assert (settings.api, settings.timeout, settings.ca_bundle) == ("config_v1", 7.5, "/ca.pem")
    assert (settings.client_cert, settings.client_key) == ("/client.pem", Secret(PEM))
    assert settings.headers == {"X-Tenant": Secret("a"), "X-Key": Secret(SECRET)}
    assert settings.proxy == Secret(f"http://u:{SECRET}@proxy:3128")
    assert settings.iap is not None
    assert (settings.iap.mode, settings.iap.audience) == ("id_token", "123.apps.googleusercontent.com")
    assert settings.iap.impersonate == ("middle@p", "target@p")
    assert settings.iap.keyfile == Secret('{"type": "service_account"}')


NAMES = (
    "auth", "api", "auth_headers", "ca_bundle", "client_cert", "client_private_key", "proxy", "timeout", "iap_mode",
    "iap_audience", "iap_impersonate", "keyfile_dict", "google_conn_id",
)  # fmt: skip


@pytest.mark.parametrize("nothing", [None, "", "  ", {}])
def test_null_and_empty_fields_are_absent(nothing):
    empty = settings_of("https://host", **dict.fromkeys(NAMES, nothing))
    assert empty == settings_of("https://host")
    assert (empty.auth, empty.api, empty.timeout, empty.iap, empty.headers) == ("none", "auto", 30.0, None, {})


def test_auth_is_basic_where_there_is_a_login_unless_said_otherwise():
    assert settings_of("https://host", login="me", password="x").auth == "basic"
    assert settings_of("https://host", login="me", password="x", auth="none").auth == "none"
    assert settings_of("https://host").auth == "none"


def test_an_audience_alone_switches_the_proxy_on_and_off_switches_it_off():
    assert settings_of("https://host", iap_audience="123").iap.mode == "auto"
    assert settings_of("https://host", iap_audience="123", iap_mode="off").iap is None
    assert settings_of("https://host", iap_mode="signed_jwt").iap.audience == ""


def test_a_key_file_and_headers_may_be_objects_or_their_text():
    key = {"type": "service_account", "client_email": "a@b"}
    pasted = settings_of("https://host", iap_mode="auto", keyfile_dict=key).iap.keyfile
    assert json.loads(pasted.reveal()) == key
    assert settings_of("https://host", auth_headers='{"A": "b"}').headers == {"A": Secret("b")}
    assert settings_of("https://host", auth_headers={"A": None, "B": "b"}).headers == {"B": Secret("b")}


def test_credentials_of_a_google_connection_are_asked_for_when_they_are_used():
    asked = []
    parts = ConnectionParts("remote", "x", host="h", extra={"iap_mode": "auto", "google_conn_id": "gcp"})
    settings = parse_settings(parts, google_credentials=lambda name: asked.append(name) or "credentials")
    assert (settings.iap.source, asked) == ("gcp", [])
    assert (settings.iap.credentials(), asked) == ("credentials", ["gcp"])


@pytest.mark.parametrize("name", ["auth", "api", "iap_mode"])
def test_an_unknown_word_is_refused_with_the_words_there_are(name):
    message = refused(**{name: "wrong"})
    assert f"{name}='wrong'" in message
    assert "use one of " in message


@pytest.mark.parametrize("value", [0, -1, "soon", "inf", "nan", {"a": 1}])
def test_a_timeout_that_is_none_is_refused(value):
    assert "timeout='" in refused(timeout=value)
    assert "seconds, above 0" in refused(timeout=value)


@pytest.mark.parametrize("value", [SECRET, [SECRET], f'["{SECRET}"]', 3])
def test_headers_that_are_no_object_are_refused(value):
    assert 'write {"X-Header": "value"}' in refused(auth_headers=value)


@pytest.mark.parametrize("headers", [{"X-A": f"{SECRET}\r\nX-B: c"}, {"X-A": f"{SECRET}€"}, {"X A": SECRET}])
def test_headers_that_http_cannot_carry_are_refused(headers):
    assert repr(next(iter(headers))) in refused(auth_headers=headers)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "CONNECTION"])
def test_headers_that_http_itself_needs_are_refused(name):
    assert repr(name) in refused(auth_headers={name: SECRET})


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}ü"])
def test_a_token_that_http_cannot_carry_is_refused(value):
    assert "token" in refused(auth="bearer", password=value)


@pytest.mark.parametrize("value", [f"{SECRET}:3128", f"ftp://{SECRET}", f"http://u:{SECRET}@", f"http://x:{SECRET}"])
def test_a_proxy_that_is_no_url_is_refused_and_not_shown(value):
    assert "http://[user:password@]host:port" in refused(proxy=value)


@pytest.mark.parametrize(
    "fields",
    [
        {"auth": "basic"},
        {"auth": "basic", "password": SECRET},
        {"auth": "client_credentials", "login": "id"},
        {"auth": "client_credentials", "password": SECRET},
        {"auth": "bearer", "login": "me"},
    ],
)
def test_credentials_that_lack_a_half_are_refused(fields):
    assert f"auth='{fields['auth']}' and lacks" in refused(**fields)


@pytest.mark.parametrize("fields", [{"ca_bundle": "/ca.pem"}, {"client_cert": PEM}])
def test_certificates_without_tls_are_refused(fields):
    assert "set the schema to https" in refused(url="http://host", **fields)


# --- equality, repr ---


def test_equal_settings_under_two_names_are_equal_and_share_a_hash():
    given = {"auth_headers": {"A": "b"}, "iap_audience": "123", "login": "me", "password": SECRET}
    one, two = settings_of("https://host", conn_id="a", **given), settings_of("https://host", conn_id="b", **given)
    assert (one.name, two.name) == ("a", "b")
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize(
    "other",
    [
        {"password": "other"},
        {"timeout": 5},
        {"auth_headers": {"A": "c"}},
        {"iap_audience": "123"},
        {"proxy": "http://p"},
    ],
)
def test_settings_that_differ_are_not_equal(other):
    given = {"login": "me", "password": SECRET, "auth_headers": {"A": "b"}}
    assert settings_of("https://host", **given) != settings_of("https://host", **{**given, **other})


def test_no_secret_is_in_the_repr():
    settings = settings_of(
        "https://host",
        login="me",
        password=SECRET,
        auth_headers={"X-Key": SECRET},
        client_cert=PEM,
        client_private_key=PEM,
        proxy=f"http://u:{SECRET}@proxy",
        iap_mode="auto",
        keyfile_dict=json.dumps({"private_key": SECRET}),
    )
    assert SECRET not in f"{settings!r} {settings} {settings.iap!r}"
    assert "'me'" in repr(settings)
