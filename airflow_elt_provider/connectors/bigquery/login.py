"""Google's credentials of a connection's extra, without Airflow: for the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import google.auth
from google.auth import exceptions, impersonated_credentials
from google.oauth2 import service_account

from airflow_elt_provider.errors import ConfigurationError

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_default: Any = google.auth.default  # Google's functions have types for some of their parameters only
_Keys: Any = service_account.Credentials
_Impersonated: Any = impersonated_credentials.Credentials


def credentials_of(extra: Mapping[str, Any]) -> tuple[Any, str]:
    """Return credentials and their project: of ``keyfile_dict`` or ``key_path``, else Google's default ones.

    :raises ConfigurationError: when there are none.
    """
    try:
        found, project = _own(extra)
    except (OSError, ValueError, exceptions.GoogleAuthError) as error:
        raise ConfigurationError(
            f"The BigQuery connection has no usable Google credentials: {error}",
            hint="correct key_path or keyfile_dict in its extra, or set GOOGLE_APPLICATION_CREDENTIALS",
        ) from error
    chain = extra.get("impersonation_chain")
    if chain:
        *delegates, account = [name.strip() for name in (chain.split(",") if isinstance(chain, str) else chain)]
        found = _Impersonated(
            source_credentials=found, target_principal=account, delegates=delegates, target_scopes=list(SCOPES)
        )
    return found, project or ""


def _own(extra: Mapping[str, Any]) -> Any:
    if extra.get("keyfile_dict"):
        key = extra["keyfile_dict"]
        found = _Keys.from_service_account_info(json.loads(key) if isinstance(key, str) else key, scopes=SCOPES)
        return found, found.project_id
    if extra.get("key_path"):
        found = _Keys.from_service_account_file(str(extra["key_path"]), scopes=SCOPES)
        return found, found.project_id
    return _default(scopes=SCOPES)
