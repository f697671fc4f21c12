"""What is secret in a connection's ``config``, beyond what its name or form tells everywhere.

The names are those that the API's specification gives the format ``password``; the real API masks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_elt_provider.remotes.config_as_code.secret_values import MARK, NOT_EXPORTED

_NAMES: Final = frozenset({
    "account_key", "api_admin_key", "api_key_2", "api_key_3", "app_key", "application_key", "auth_code", "blob_sas_url",
    "client_cert_key", "client_key", "company_key", "consumer_key", "function_key", "function_trigger",
    "integration_key", "key", "keystore", "oauth_subscription_key", "pass_phrase", "pgp_pass_phrase",
    "query_param_value", "sasl_plain_key", "sasl_scram256_key", "sasl_scram512_key", "schema_registry_key",
    "secured_signon_key", "storage_account_key", "subscription_key", "tde_private_key_backup", "token_key",
    "tracking_subscription_key", "truststore", "user_key", "x_key", "x_master_key",
})  # fmt: skip
_LISTS: Final = frozenset({"secrets_list"})
"""Lists of ``{key, value}`` whose values are secret whatever their keys are."""


def hidden(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with marks in the place of these secrets."""
    mark = {MARK: NOT_EXPORTED}
    found = {name: mark if _is_told(name, value) else value for name, value in config.items()}
    for name in _LISTS & found.keys():
        if isinstance(found[name], list):
            found[name] = [_of_list(one, mark) for one in found[name]]
    return found


def in_the_open(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the places of these secrets that the values of a file hold as they are."""
    config = values.get("config")
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if _is_told(name, value):
            yield f"config.{name}"
        elif name in _LISTS and isinstance(value, list):
            places = [number for number, one in enumerate(value) if isinstance(one, Mapping) and _is_text(one, "value")]
            yield from (f"config.{name}[{number}].value" for number in places)


def _of_list(one: Any, mark: Mapping[str, str]) -> Any:
    return {**one, "value": mark} if isinstance(one, Mapping) and _is_text(one, "value") else one


def _is_told(name: str, value: Any) -> bool:
    return name in _NAMES and isinstance(value, str) and bool(value)


def _is_text(one: Mapping[str, Any], name: str) -> bool:
    return isinstance(one.get(name), str) and bool(one[name])


def full(value: Any) -> Any:
    """Return a value without what is null."""
    if isinstance(value, Mapping):
        return {name: full(one) for name, one in value.items() if one is not None}
    return [full(one) for one in value] if isinstance(value, list) else value
