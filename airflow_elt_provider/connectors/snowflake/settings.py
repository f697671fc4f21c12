"""Where a Snowflake account is, how to log in, and where files wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

SECRETS: Final = frozenset({
    "oauth_client_secret", "passcode", "password", "private_key", "private_key_file_pwd", "proxy_password", "token",
})  # fmt: skip
"""Arguments of Snowflake's driver that nobody may see. ``private_key`` is PKCS #8 in DER, in base64."""
_SPELLINGS: Final = {"login": "user", "username": "user"}
_IDENTIFIERS: Final = ("upper", "exact")


def _no_credentials() -> Mapping[str, Secret]:
    return {}


@dataclass(frozen=True, kw_only=True)
class SnowflakeSettings:
    """A Snowflake connection, without the connection.

    :param database: where our own tables lie, and targets that name no database.
    :param schema: of targets that name none.
    :param login: further arguments of ``snowflake.connector.connect``: ``role``, ``authenticator``, ``host`` ...
    :param credentials: gives the secret ones; asked before each login, as tokens end.
    :param identifiers: ``upper``: names are folded as Snowflake folds what is written without quotes; ``exact``.
    :param stage: a named external stage, ``schema.stage``, over the bucket that loads are staged in; "" for none.
    :param storage_integration: reads the bucket where there is no named stage; "" for none.
    :param internal_stage: whether files are sent to a stage inside Snowflake, whatever stage they wait on.
    :param lock_timeout: seconds that a statement waits for a lock. Snowflake frees a dead client's after five minutes.
    :param statement_timeout: seconds that a statement may run; 0 leaves it to the account.
    :param login_timeout: seconds for the login with all its attempts.
    :param network_timeout: seconds after which a request that gets no answer is given up.
    :param query_tag: what every statement is tagged with, beside the load.
    """

    account: str
    database: str
    schema: str = "PUBLIC"
    user: str = ""
    login: Mapping[str, Any] = field(default_factory=dict, repr=False)
    credentials: Callable[[], Mapping[str, Secret]] = field(default=_no_credentials, repr=False, compare=False)
    session_parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    identifiers: str = "upper"
    stage: str = ""
    storage_integration: str = ""
    internal_stage: bool = False
    lock_timeout: float = 900.0
    statement_timeout: float = 0.0
    login_timeout: float = 60.0
    network_timeout: float = 300.0
    query_tag: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.identifiers not in _IDENTIFIERS:
            raise ConfigurationError(
                f"elt_identifiers={self.identifiers!r} of the Snowflake connection is unknown.",
                hint=f"use one of {', '.join(_IDENTIFIERS)}",
            )
        for name in ("account", "database"):
            if not getattr(self, name):
                raise ConfigurationError(
                    f"The Snowflake connection names no {name}.",
                    hint=f"give it in the extra: {{{name!r}: '...'}}"
                    + (" (our own tables lie in its schema _ELT)" if name == "database" else ""),
                )

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> SnowflakeSettings:
        """Read the arguments of Snowflake's driver, and ours, which begin with ``elt_``.

        Keys whose value is None or "" count as absent. ``elt_query_tag`` and ``elt_credentials`` are for hooks.

        :raises ConfigurationError: for an unknown name of ours, or a number that is none.
        """
        given = {_SPELLINGS.get(name, name): item for name, item in value.items() if item is not None and item != ""}
        own = {name: given.pop(name) for name in list(given) if name.startswith("elt_")}
        secrets = {name: _secret(given.pop(name)) for name in SECRETS & set(given)}
        known: dict[str, Any] = {name: str(given.pop(name)) for name in _TEXTS if name in given}
        if "session_parameters" in given:
            known["session_parameters"] = dict(given.pop("session_parameters"))
        for name in ("login_timeout", "network_timeout"):
            if name in given:
                known[name] = _converted(name, given.pop(name), float)
        credentials = own.pop("elt_credentials", lambda: secrets)
        return cls(**{"account": "", "database": "", **known}, **_ours(own), login=given, credentials=credentials)

    def __str__(self) -> str:
        return f"{self.user}@{self.account}/{self.database}" if self.user else f"{self.account}/{self.database}"


def of_connection(parts: ConnectionParts) -> SnowflakeSettings:
    """Read a connection without Airflow: password, key file (the password is its passphrase) or token.

    See :meth:`SnowflakeSettings.parse`; other ways to log in need Airflow's hook.
    """
    secret = "private_key_file_pwd" if "private_key_file" in parts.extra else "password"
    own = {"user": parts.login, secret: parts.password, "schema": parts.schema}
    return SnowflakeSettings.parse({**own, **parts.extra})


_TEXTS: Final = ("account", "database", "schema", "user")
_OURS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "elt_identifiers": str,
    "elt_stage": str,
    "elt_storage_integration": str,
    "elt_internal_stage": lambda value: str(value).strip().lower() in {"true", "1", "yes"},
    "elt_lock_timeout": float,
    "elt_statement_timeout": float,
    "elt_query_tag": dict,
}


def _ours(own: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(own) - set(_OURS))
    if unknown:
        names = ", ".join(name for name in _OURS if name != "elt_query_tag")
        raise ConfigurationError(
            f"The Snowflake connection has an extra {unknown[0]!r}.", hint=f"take it out; ours are {names}"
        )
    return {name.removeprefix("elt_"): _converted(name, item, _OURS[name]) for name, item in own.items()}


def _converted(name: str, value: object, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{name}={value!r} of the Snowflake connection is not a number.", hint="give a number"
        ) from None


def _secret(value: object) -> Secret:
    return value if isinstance(value, Secret) else Secret(str(value))
