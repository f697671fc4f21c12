"""Tokens for Google's Identity-Aware Proxy, by google-auth.

Two kinds pass (https://cloud.google.com/iap/docs/authentication-howto): an OpenID Connect ID token whose audience is
the OAuth client id of the IAP resource, and a JWT that a service account signs itself, whose audience is the URL.
Everything here blocks; flows call it in a thread.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import parse_qs

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.flow import Answer, Request
from airflow_elt_provider.remotes.iap_problems import default_file, denied, explained, reading_key, service_account_key
from airflow_elt_provider.remotes.refusals import target_of
from airflow_elt_provider.remotes.settings import Iap, RemoteSettings
from airflow_elt_provider.remotes.tokens import Token, jwt_seconds

log = logging.getLogger(__name__)

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_IAM: Final = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:{method}"
_TOKENS: Final = {"generateIdToken": "token", "signJwt": "signedJwt"}
_LIFE: Final = 3600
"""Seconds: the longest life that IAP accepts of a signed JWT."""
_LOGIN_HOST: Final = "accounts.google.com"
_TIMEOUT: Final = 30.0
_TOO_MANY, _SERVER = 429, 500


def mint_for(settings: RemoteSettings, ask: Callable[[Request], Answer]) -> Callable[[], Token]:
    """Return what mints the token that a remote's IAP wants.

    :param ask: asks the remote without a token: its proxy then names the audience that the connection does not give.
    """
    iap = cast("Iap", settings.iap)

    def mint() -> Token:
        mode, audience = _decided(iap, settings, ask)
        started = time.monotonic()
        value = id_token(iap, audience) if mode == "id_token" else signed_jwt(iap, audience)
        log.info("Minted a token for Identity-Aware Proxy (%s, audience %s) in %.1f s.", mode, audience,
                 time.monotonic() - started)  # fmt: skip
        return Token(Secret(value), jwt_seconds(value, _LIFE))

    return mint


def _decided(iap: Iap, settings: RemoteSettings, ask: Callable[[Request], Answer]) -> tuple[str, str]:
    """Return the mode and the audience: given, by the form of the audience, or by what the proxy itself says."""
    mode = iap.mode
    if mode == "auto":
        mode = "signed_jwt" if iap.audience.startswith(("https://", "http://")) else "id_token"
    if mode == "signed_jwt":
        return mode, iap.audience or f"{settings.origin}/*"
    if iap.audience:
        return mode, iap.audience
    return mode, discovered_audience(ask(Request("GET", "/", accept="text/html")), settings)


def discovered_audience(answer: Answer, settings: RemoteSettings) -> str:
    """Return the OAuth client id that IAP names when it sends a browser to the login page.

    :raises ConfigurationError: when it names none.
    """
    target = target_of(answer)
    found = parse_qs(target.query).get("client_id", [""])[0]
    if target.hostname == _LOGIN_HOST and found:
        return found
    raise ConfigurationError(
        f"{settings.origin} does not say which audience its Identity-Aware Proxy wants (it answered {answer.status}).",
        hint=f"set iap_audience in connection {settings.name!r} to the OAuth client id; iap_mode=off without a proxy",
    )


def id_token(iap: Iap, audience: str) -> str:
    """Return an ID token with the service account's e-mail in it.

    :raises ConfigurationError: when the credentials cannot get one, or lack a right; says which.
    :raises TransientError: when Google does not answer.
    """
    from google.auth import compute_engine, external_account, impersonated_credentials
    from google.oauth2 import service_account

    with explained(iap):
        source = _credentials(iap)
        if isinstance(source, service_account.Credentials):
            uri = source._token_uri  # noqa: SLF001 - there is no other way to it
            minting: Any = service_account.IDTokenCredentials(
                source.signer, source.service_account_email, uri, audience
            )
        elif isinstance(source, impersonated_credentials.Credentials):
            account, delegates, source = _impersonated(source)
            body = {"audience": audience, "includeEmail": True, "delegates": delegates}
            return _ask_iam(source, account, "generateIdToken", body)
        elif isinstance(source, compute_engine.Credentials):
            minting = compute_engine.IDTokenCredentials(_request(), audience, use_metadata_identity_endpoint=True)
        elif isinstance(source, external_account.Credentials):
            body = {"audience": audience, "includeEmail": True}
            return _ask_iam(source, _own_account(source), "generateIdToken", body)
        else:
            raise _no_service_account(iap, source)
        minting.refresh(_request())
        return str(minting.token)


def signed_jwt(iap: Iap, audience: str) -> str:
    """Return a JWT that a service account signed itself: with its key, or keyless by IAM's ``signJwt``.

    :raises ConfigurationError: when there is no service account, or a right is missing; says which.
    :raises TransientError: when Google does not answer.
    """
    from google.auth import external_account, impersonated_credentials, jwt
    from google.oauth2 import service_account

    with explained(iap):
        source = _credentials(iap)
        if isinstance(source, service_account.Credentials):
            own = jwt.Credentials.from_signing_credentials(source, audience, token_lifetime=_LIFE)
            own.refresh(None)
            return own.token.decode() if isinstance(own.token, bytes) else str(own.token)
        delegates: list[str] = []
        if isinstance(source, impersonated_credentials.Credentials):
            account, delegates, source = _impersonated(source)
        elif isinstance(source, external_account.Credentials):
            account = _own_account(source)
        else:
            account = _account_of_machine(iap, source)
        now = int(time.time())
        claims = {"iss": account, "sub": account, "aud": audience, "iat": now, "exp": now + _LIFE}
        body = {"payload": json.dumps(claims), "delegates": delegates}
        return _ask_iam(source, account, "signJwt", body)


# --- credentials ---


def _credentials(iap: Iap) -> Any:
    """Return google-auth credentials: the key, the Google connection's, or the machine's own; then impersonation."""
    from google.auth import impersonated_credentials
    from google.oauth2 import service_account

    if iap.keyfile:
        key = service_account_key(iap.keyfile)
        with reading_key():
            source: Any = service_account.Credentials.from_service_account_info(key, scopes=_SCOPES)
            source.signer.sign(b"")  # keys of another kind than RSA are noticed only here
    elif iap.credentials:
        source = iap.credentials()
    else:
        source = _application_default()
    if not iap.impersonate:
        return source
    return impersonated_credentials.Credentials(
        source_credentials=source,
        target_principal=iap.impersonate[-1],
        delegates=[_resource(name) for name in iap.impersonate[:-1]],
        target_scopes=list(_SCOPES),
    )


def _application_default() -> Any:
    """Return application default credentials.

    Those of workload identity federation are read here: google-auth would ask Google for the project's name, too,
    which nobody needs and not every network lets through.
    """
    import google.auth
    from google.auth import aws, identity_pool, pluggable

    info = default_file()
    if info.get("type") != "external_account":
        return google.auth.default(scopes=_SCOPES, request=_request())[0]
    given = info.get("credential_source") or {}
    kind: Any = aws if "environment_id" in given else pluggable if "executable" in given else identity_pool
    return kind.Credentials.from_info(info, scopes=_SCOPES)


def _impersonated(credentials: Any) -> tuple[str, list[str], Any]:
    """Return whose tokens these credentials get, through whom, and as whom they ask."""
    delegates = list(credentials._delegates or ())  # noqa: SLF001
    return str(credentials.service_account_email), delegates, credentials._source_credentials  # noqa: SLF001


def _own_account(source: Any) -> str:
    account = source.service_account_email
    if account:
        return str(account)
    raise ConfigurationError(
        "The workload-identity configuration names no service account, and IAP wants one.",
        hint="make it with --service-account (service_account_impersonation_url), or set iap_impersonate",
    )


def _account_of_machine(iap: Iap, source: Any) -> str:
    if not hasattr(source, "service_account_email"):
        raise _no_service_account(iap, source)
    if not source.token:
        source.refresh(_request())  # the metadata server says the name only then
    return str(source.service_account_email)


def _no_service_account(iap: Iap, source: Any) -> ConfigurationError:
    whose = f"Google connection {iap.source!r}" if iap.source else "The application default credentials"
    return ConfigurationError(
        f"{whose} are a user's ({type(source).__name__}), and get no token that IAP accepts.",
        hint="set iap_impersonate to a service account that the user may impersonate, or use a key",
    )


# --- Google's answers ---


def _request() -> Any:
    from google.auth.transport.requests import Request as GoogleRequest

    return GoogleRequest()


def _resource(account: str) -> str:
    return f"projects/-/serviceAccounts/{account}"


def _ask_iam(source: Any, account: str, method: str, body: dict[str, Any]) -> str:
    """Get a token of IAM Credentials as ``source`` (https://cloud.google.com/iam/docs/reference/credentials/rest)."""
    from google.auth.transport.requests import AuthorizedSession

    if getattr(source, "requires_scopes", False):
        source = source.with_scopes(_SCOPES)
    with AuthorizedSession(source) as session:
        answer = session.post(_IAM.format(account=account, method=method), json=body, timeout=_TIMEOUT)
    if answer.status_code >= _SERVER or answer.status_code == _TOO_MANY:
        raise TransientError(f"IAM Credentials answered {answer.status_code} to {method} for {account}.")
    if not answer.ok:
        said = " ".join(answer.text[:2000].split())[:300]
        raise denied(account, f"IAM Credentials answered {answer.status_code} to {method}: {said}")
    try:
        token = answer.json()[_TOKENS[method]]
    except (KeyError, TypeError, ValueError):
        token = None
    if not token or not isinstance(token, str):
        raise TransientError(f"IAM Credentials answered {method} for {account} without a token.")
    return token
