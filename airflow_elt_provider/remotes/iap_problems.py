"""What goes wrong before Identity-Aware Proxy gets its token: keys that are none, and Google's refusals."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.settings import Iap, split_url

_FORBIDDEN: Final = 403
_PASTE: Final = "paste the whole key file, or leave it empty"


def service_account_key(keyfile: Secret) -> dict[str, Any]:
    """Return the key of a service account, whose fields are what they have to be; shows none of it.

    :raises ConfigurationError: when it is no such key.
    """
    value = _object(keyfile.reveal())
    if value is None or value.get("type") != "service_account":
        raise ConfigurationError("keyfile_dict is not the JSON key of a service account.", hint=_PASTE)
    if not all(isinstance(value.get(name), str) for name in ("client_email", "private_key", "token_uri")):
        raise ConfigurationError("keyfile_dict lacks client_email, private_key or token_uri, as text.", hint=_PASTE)
    uri = split_url(value["token_uri"])
    if uri is None or uri.scheme not in {"https", "http"} or not uri.hostname:
        raise ConfigurationError("keyfile_dict has a token_uri that is no URL.", hint=_PASTE)
    return value


@contextmanager
def reading_key() -> Iterator[None]:
    """Say that the key cannot be read, whatever reads it says of that: it may say pieces of it."""
    try:
        yield
    except Exception:  # noqa: BLE001 - of google-auth, and of the libraries that it leaves the reading to
        raise ConfigurationError(
            "The private key in keyfile_dict cannot be read.", hint=f"check the key: {_PASTE}"
        ) from None


def default_file() -> dict[str, Any]:
    """Return what the file of the application default credentials holds; {} where the environment names none.

    :raises ConfigurationError: when it cannot be read, or holds something else.
    """
    path = Path(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", ""))
    if not path.is_file():
        return {}
    try:
        value = _object(path.read_text())
    except (OSError, UnicodeError):
        value = None
    if value is None or not isinstance(value.get("credential_source") or {}, dict):
        raise ConfigurationError(
            f"The file {str(path)!r} of GOOGLE_APPLICATION_CREDENTIALS holds no Google credentials.",
            hint="give a readable JSON file: a key, or a workload-identity configuration",
        )
    return value


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def denied(account: str, said: str) -> ConfigurationError:
    """Return the error for a right that the caller lacks."""
    return ConfigurationError(
        f"No token for {account}: {said}",
        hint=f"grant roles/iam.serviceAccountTokenCreator on {account} to the caller (also where it is the same), "
        "and enable the IAM Service Account Credentials API",
    )


@contextmanager
def explained(iap: Iap) -> Iterator[None]:
    """Turn google-auth's errors into ours. What Google says holds no token; what reads keys may show them: not said."""
    from google.auth import exceptions

    try:
        yield
    except EltError:
        raise
    except exceptions.DefaultCredentialsError as error:
        said = _short(error.args[0] if error.args else "")  # behind it is what the reader of a key said: maybe of it
        raise ConfigurationError(
            f"There are no Google credentials for Identity-Aware Proxy: {said}",
            hint="set google_conn_id or keyfile_dict, or run where a metadata server is (Composer, GKE, GCE)",
        ) from None
    except (exceptions.GoogleAuthError, requests.RequestException, ValueError) as error:
        unanswered = exceptions.TransportError, requests.RequestException
        if (
            isinstance(error, unanswered)
            or isinstance(error.__cause__, unanswered)
            or getattr(error, "retryable", False)
        ):
            raise TransientError(f"Google did not answer when asked for a token: {_short(error)}") from None
        said = type(error).__name__ if isinstance(error, ValueError) else _short(error)
        account = iap.impersonate[-1] if iap.impersonate else "the service account"
        if str(_FORBIDDEN) in str(error) or "denied" in str(error).lower():
            raise denied(account, said) from None
        late = "timeframe" in str(error)  # of Google's answer to an assertion whose iat or exp it does not accept
        raise ConfigurationError(
            f"Google gives no token for Identity-Aware Proxy: {said}",
            hint="set this machine's clock (NTP)" if late else "check the key, iap_impersonate and iap_audience",
        ) from None


def _short(error: object) -> str:
    return " ".join(str(error)[:2000].split())[:300]
