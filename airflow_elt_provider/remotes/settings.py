"""Where a remote is, and how its doors open."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, cast, get_args
from urllib.parse import SplitResult, urlsplit, urlunsplit

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

Auth = Literal["none", "basic", "client_credentials", "bearer"]
IapMode = Literal["off", "id_token", "signed_jwt", "auto"]
Api = Literal["auto", "public_v1", "config_v1"]

DEFAULT_TIMEOUT: Final = 30.0
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
PROXY_SCHEMES: Final = {"http", "https", "socks5", "socks5h"}
_OF_HTTP: Final = {"host", "content-length", "transfer-encoding", "connection"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Iap:
    """How to pass Identity-Aware Proxy.

    :param mode: ``id_token``, ``signed_jwt``, or ``auto``.
    :param audience: OAuth client id of the IAP resource, or the URL for a signed JWT; "" to find out.
    :param impersonate: service accounts: delegates first, then the one whose token is wanted.
    :param keyfile: a service-account key as JSON text; None: ``credentials`` or Google's application default ones.
    :param credentials: returns google-auth credentials, as of an Airflow Google connection; may block.
    """

    mode: IapMode
    audience: str = ""
    impersonate: tuple[str, ...] = ()
    keyfile: Secret | None = None
    source: str = ""
    credentials: Callable[[], Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class RemoteSettings:
    """A remote's address and credentials. Equal settings share a poller, connections and tokens.

    :param base_url: ``https://host[:port][/prefix]``, without a slash at its end.
    :param name: how messages call the connection; not part of equality.
    :param user: login name, key or client id of the application.
    :param headers: further headers of every request.
    :param ca_bundle: file of the authorities to trust; "" for the usual ones.
    :param client_cert: file or PEM text, which may hold the key, too; "" for none.
    :param client_key: file or PEM text of its private key.
    :param proxy: URL of an HTTP proxy; "" for what the environment says.
    :param timeout: seconds to wait for an answer.
    """

    base_url: str
    name: str = field(default="", compare=False)
    auth: Auth = "none"
    user: str = ""
    password: Secret | None = None
    iap: Iap | None = None
    api: Api = "auto"
    headers: Mapping[str, Secret] = field(default_factory=dict, hash=False)
    ca_bundle: str = ""
    client_cert: str = field(default="", repr=False)
    client_key: Secret | None = None
    proxy: Secret | None = None
    timeout: float = DEFAULT_TIMEOUT

    @property
    def origin(self) -> str:
        """The base URL without its path."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def needs_authorization(self) -> bool:
        """Whether the application itself reads the header ``Authorization``."""
        return self.auth != "none" or any(name.lower() == "authorization" for name in self.headers)


def parse_settings(
    connection: ConnectionParts,
    *,
    default_host: str = "",
    default_auth: Auth | None = None,
    google_credentials: Callable[[str], Any] | None = None,
) -> RemoteSettings:
    """Return the settings that the fields of an Airflow connection mean; see ``docs/remotes/connections.md``.

    :param default_host: the host where the connection has none.
    :param default_auth: how the application knows its users where the connection does not say; None: by what it has.
    :param google_credentials: returns the google-auth credentials of a Google connection by its id; may block.
    :raises ConfigurationError: for a field that cannot be meant; secrets are not shown.
    """
    given = _Fields(connection.conn_id, connection.extra)
    guessed = default_auth or ("basic" if connection.login or connection.password else "none")
    settings = RemoteSettings(
        base_url=_base_url(connection, default_host),
        name=connection.conn_id,
        auth=given.choice("auth", guessed, Auth),
        user=connection.login or "",
        password=connection.password,
        iap=_iap(given, google_credentials),
        api=given.choice("api", "auto", Api),
        headers=given.headers(),
        ca_bundle=given.text("ca_bundle"),
        client_cert=given.text("client_cert"),
        client_key=given.secret("client_private_key"),
        proxy=given.proxy(),
        timeout=given.seconds("timeout", DEFAULT_TIMEOUT),
    )
    _refuse_incomplete(settings)
    return settings


@dataclass(frozen=True)
class _Fields:
    """The extra of a connection, read field by field."""

    conn_id: str
    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if isinstance(value, Mapping):  # an object where others (Airflow 2's form, connection URIs) write its text
            return json.dumps(value) if value else ""
        return "" if value is None else str(value).strip()

    def secret(self, name: str) -> Secret | None:
        return Secret(self.text(name)) if self.text(name) else None

    def choice(self, name: str, default: _T, kinds: Any) -> _T:
        word = self.text(name) or default
        if word not in get_args(kinds):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has {name}={word!r}.", hint=f"use one of {', '.join(get_args(kinds))}"
            )
        return cast("_T", word)

    def seconds(self, name: str, default: float) -> float:
        text = self.text(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = 0.0
        if not 0 < value < math.inf:
            raise ConfigurationError(f"Connection {self.conn_id!r} has {name}={text!r}.", hint="give seconds, above 0")
        return value

    def proxy(self) -> Secret | None:
        text = self.text("proxy")
        parts = split_url(text)
        if text and (parts is None or parts.scheme not in PROXY_SCHEMES or not parts.hostname):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has a proxy that is no URL.",
                hint="write http://[user:password@]host:port",
            )
        return Secret(text) if text else None

    def headers(self) -> dict[str, Secret]:
        text = self.text("auth_headers")
        value = _json(text) if text else {}
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has auth_headers that are no JSON object.",
                hint='write {"X-Header": "value"}',
            )
        headers = {str(name): Secret(str(content)) for name, content in value.items() if content not in (None, "")}
        for name, content in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(content.reveal()):
                raise ConfigurationError(
                    f"Connection {self.conn_id!r} has a header {name!r} in auth_headers that HTTP cannot carry.",
                    hint="use ASCII without line breaks, and no spaces in names",
                )
            if name.lower() in _OF_HTTP:
                raise ConfigurationError(
                    f"Connection {self.conn_id!r} has {name!r} in auth_headers, which HTTP itself needs.",
                    hint="leave it out: host, length and connection follow from the request",
                )
        return headers


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _iap(given: _Fields, google_credentials: Callable[[str], Any] | None) -> Iap | None:
    mode = given.choice("iap_mode", "auto" if given.text("iap_audience") else "off", IapMode)
    if mode == "off":
        return None
    source = given.text("google_conn_id")
    return Iap(
        mode=cast("IapMode", mode),
        audience=given.text("iap_audience"),
        impersonate=tuple(name.strip() for name in given.text("iap_impersonate").split(",") if name.strip()),
        keyfile=given.secret("keyfile_dict"),
        source=source,
        credentials=(lambda: google_credentials(source)) if source and google_credentials else None,
    )


def _base_url(connection: ConnectionParts, default: str) -> str:
    text, name = (connection.host or default).strip(), f"Connection {connection.conn_id!r}"
    if not text:
        raise ConfigurationError(f"{name} has no host.", hint="give the server's name or its URL")
    if "@" in text:
        raise ConfigurationError(f"{name} has a user in its host.", hint="login and password have fields of their own")
    parts = split_url(text if "://" in text else f"{connection.schema or 'https'}://{_bracketed(text)}")
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ConfigurationError(
            f"{name} has host={text.partition('?')[0]!r}, schema={connection.schema!r}.",
            hint="give a host name, or a URL as https://host/prefix, without a query",
        )
    netloc = parts.netloc if parts.port or not connection.port else f"{parts.netloc}:{connection.port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL; None when its host or port can be none."""
    try:
        parts = urlsplit(url)
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    return None if re.search(r"\s", parts.netloc) else parts


def _bracketed(host: str) -> str:
    """Return an IPv6 address as URLs write it; anything else as it is."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004
    except ValueError:
        return host


def _refuse_incomplete(settings: RemoteSettings) -> None:
    missing = {
        "basic": not settings.user,
        "client_credentials": not (settings.user and settings.password),
        "bearer": not settings.password,
        "none": False,
    }
    if missing[settings.auth]:
        raise ConfigurationError(
            f"Connection {settings.name!r} has auth={settings.auth!r} and lacks a login or a password.",
            hint="basic: user and password; client_credentials: client id and client secret; bearer: token as password",
        )
    if settings.auth == "bearer" and settings.password and not _HEADER_VALUE.fullmatch(settings.password.reveal()):
        raise ConfigurationError(
            f"Connection {settings.name!r} has a token as password that HTTP cannot carry.",
            hint="use ASCII without line breaks: is there one at its end?",
        )
    secure = settings.base_url.startswith("https:")
    if not secure and (settings.ca_bundle or settings.client_cert):
        raise ConfigurationError(
            f"Connection {settings.name!r} has a CA bundle or a client certificate for {settings.base_url}.",
            hint="TLS needs https: set the schema to https",
        )
