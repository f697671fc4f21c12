"""Where a remote is, and how its doors open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, cast, get_args
from urllib.parse import urlsplit, urlunsplit

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

Auth = Literal["none", "basic", "client_credentials", "bearer"]
IapMode = Literal["off", "id_token", "signed_jwt", "auto"]
Api = Literal["auto", "public_v1", "config_v1"]

DEFAULT_TIMEOUT: Final = 30.0
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
    :param client_cert: file or PEM text; "" for none.
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
    client_cert: str = ""
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
        proxy=given.secret("proxy"),
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
        return str(self.values.get(name) or "").strip()

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
        try:
            value = float(self.values.get(name) or default)
        except (TypeError, ValueError):
            value = 0.0
        if not value > 0:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has {name}={self.values[name]!r}.", hint="give seconds, above 0"
            )
        return value

    def headers(self) -> dict[str, Secret]:
        value = self.values.get("auth_headers") or {}
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has auth_headers that are no JSON object.",
                hint='write {"X-Header": "value"}',
            )
        return {str(name): Secret(str(content)) for name, content in value.items()}


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
    parts = urlsplit(text if "://" in text else f"{connection.schema or 'https'}://{text}")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{name} has a user in its host.", hint="login and password have fields of their own")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ConfigurationError(
            f"{name} has host={text!r}, schema={connection.schema!r}.",
            hint="give a host name, or a URL as https://host/prefix, without a query",
        )
    netloc = parts.netloc if parts.port or not connection.port else f"{parts.netloc}:{connection.port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


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
    secure = settings.base_url.startswith("https:")
    if not secure and (settings.ca_bundle or settings.client_cert):
        raise ConfigurationError(
            f"Connection {settings.name!r} has a CA bundle or a client certificate for {settings.base_url}.",
            hint="TLS needs https: set the schema to https",
        )
