"""Logging in to Google without Airflow: what the command line reads from a connection's extra."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from google.cloud.storage import Client

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_SECONDS: Final = 3600


def client(extra: Mapping[str, Any]) -> Client:
    """Return a client with the credentials that ``key_path``, ``keyfile_dict`` and ``impersonation_chain`` name.

    :raises ConfigurationError: when the key is none; without one Google's client looks where it always looks.
    """
    from google.cloud.storage import Client

    return Client(project=None, credentials=_credentials(extra), client_options=endpoint(extra))


def without_lookups(client: Client) -> Client:
    """Return a client that asks about nothing else: for its traces it looks at the bucket, with a permission more."""
    made: Any = client
    made._bucket_metadata_cache = None  # noqa: SLF001 - None is what it looks for
    return client


def endpoint(extra: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the client's option for a private endpoint."""
    return {"api_endpoint": str(extra["api_endpoint"])} if extra.get("api_endpoint") else None


def _credentials(extra: Mapping[str, Any]) -> Any:
    try:
        found = _own(extra)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The stage's connection has no usable Google key: {error}",
            hint="correct key_path or keyfile_dict in its extra",
        ) from error
    return _impersonated(found, extra["impersonation_chain"]) if extra.get("impersonation_chain") else found


def _own(extra: Mapping[str, Any]) -> Any:
    import google.auth
    from google.oauth2 import service_account

    keys: Any = service_account.Credentials  # Google's functions have types for some of their parameters only
    default: Any = google.auth.default
    if extra.get("keyfile_dict"):
        key = extra["keyfile_dict"]
        return keys.from_service_account_info(json.loads(key) if isinstance(key, str) else key, scopes=_SCOPES)
    if extra.get("key_path"):
        return keys.from_service_account_file(str(extra["key_path"]), scopes=_SCOPES)
    return default(scopes=_SCOPES)[0] if extra.get("impersonation_chain") else None


def _impersonated(source: Any, chain: Any) -> Any:
    from google.auth import impersonated_credentials

    make: Any = impersonated_credentials.Credentials
    *delegates, target = [name.strip() for name in (chain.split(",") if isinstance(chain, str) else chain)]
    return make(
        source_credentials=source, target_principal=target, delegates=delegates, target_scopes=_SCOPES,
        lifetime=_SECONDS,
    )  # fmt: skip
