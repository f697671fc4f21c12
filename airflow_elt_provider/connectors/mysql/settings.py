"""Where a MySQL or MariaDB server is and how to log in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

SSL_MODES: Final = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""As MySQL's own clients call them."""
_OWN: Final = {"schema": "database", "db": "database", "login": "user", "username": "user", "passwd": "password"}
_OF_SSL: Final = ("ca", "capath", "cert", "key", "cipher")
_CLIENTS_OWN: Final = frozenset({
    "charset", "client", "cursor", "local_infile", "init_command", "use_unicode", "iam", "aws_conn_id",
})  # fmt: skip
"""Extras of Airflow's own hook that say how Python talks, not where to: we always talk in utf8mb4."""


@dataclass(frozen=True, kw_only=True)
class MySqlSettings:
    """A MySQL connection, without the connection.

    :param database: where tables without a schema lie, and queries run; "" for none.
    :param ssl_mode: one of :data:`SSL_MODES`. Default: the server's certificate and name are verified as soon as
        there is any TLS setting; without one the connection is encrypted where the server can, as MySQL's own
        clients do it.
    :param connect_timeout: seconds until the session stands, login included.
    :param read_timeout: seconds without a byte from the server after which a statement is given up; 0 waits for ever
        (a peer that vanished is noticed after two minutes all the same).
    :param lock_timeout: seconds that a statement waits for a lock, such as that of an ``ALTER TABLE``.
    :param statement_timeout: seconds that a statement may run; 0 is no limit.
    :param identity: takes the place of the server's own id in checkpoints, for a cluster whose nodes change.
    """

    host: str = "localhost"
    port: int = 3306
    database: str = ""
    user: str = ""
    password: Secret | None = None
    unix_socket: str = ""
    ssl_mode: str = "PREFERRED"
    ssl_ca: str = ""
    ssl_capath: str = ""
    ssl_cert: str = ""
    ssl_key: str = ""
    ssl_cipher: str = ""
    connect_timeout: float = 30.0
    read_timeout: float = 0.0
    lock_timeout: float = 60.0
    statement_timeout: float = 0.0
    application_name: str = "airflow-elt-provider"
    identity: str = ""

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> MySqlSettings:
        """Read the fields above, under the names of Airflow's connection and of MySQL's clients too.

        ``ssl`` may be an object, or its JSON text, with ``ca``, ``cert``, ``key``, ``capath``, ``cipher`` and ``mode``.
        Keys whose value is None or "" count as absent.

        :raises ConfigurationError: for an unknown field, or a value that is none.
        """
        given = {_OWN.get(key, key): item for key, item in value.items() if item is not None and item != ""}
        given |= _ssl(given)
        own: dict[str, Any] = {}
        for name, item in given.items():
            if name in _CLIENTS_OWN:
                continue
            if name not in _CONVERTERS:
                known = ", ".join([*_CONVERTERS, "ssl"])
                raise ConfigurationError(f"The MySQL connection has an unknown extra {name!r}.", hint=f"use {known}")
            own[name] = _converted(name, item)
        return cls(**own)

    def __str__(self) -> str:
        return f"{self.user}@{self.unix_socket or f'{self.host}:{self.port}'}/{self.database}"


def of_connection(parts: ConnectionParts) -> MySqlSettings:
    """Read a connection without Airflow; see :meth:`MySqlSettings.parse`."""
    own = {
        "host": parts.host, "port": parts.port, "user": parts.login, "password": parts.password,
        "database": parts.schema,
    }  # fmt: skip
    return MySqlSettings.parse({**own, **parts.extra})


# --- TLS ---


def _ssl(given: dict[str, Any]) -> dict[str, Any]:
    """Take what says something about TLS out of the fields, and return it under our names."""
    found = {f"ssl_{name}": item for name, item in _object(given.pop("ssl", {})).items()}
    found |= {name: given.pop(name) for name in list(given) if name.startswith("ssl_")}
    disabled = _truth(found.pop("ssl_disabled", False))
    verify, identity = (found.pop(name, None) for name in ("ssl_verify_cert", "ssl_verify_identity"))
    checked, named = found.pop("ssl_verify_mode", None), found.pop("ssl_check_hostname", None)
    mode = found.pop("ssl_mode", None) or _mode(disabled=disabled, verify=(verify, checked), name=(identity, named))
    if mode or found:
        found["ssl_mode"] = str(mode or "VERIFY_IDENTITY").upper()
    return found


def _mode(*, disabled: bool, verify: tuple[Any, Any], name: tuple[Any, Any]) -> str | None:
    """Say what mode the settings of Python's MySQL clients add up to; None where they say nothing."""
    if disabled:
        return "DISABLED"
    said = [item for item in (*verify, *name) if item is not None]
    if not said:
        return None
    if any(item is not None and not _truth(item) for item in verify):
        return "REQUIRED"
    return "VERIFY_CA" if any(item is not None and not _truth(item) for item in name) else "VERIFY_IDENTITY"


def _truth(value: object) -> bool:
    return str(value).strip().lower() not in {"", "0", "false", "no", "none", "off"}


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if value is True:
        return {"mode": "VERIFY_IDENTITY"}
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            "The extra 'ssl' of the MySQL connection is not an object.", hint='write {"ssl": {"ca": "/path/ca.pem"}}'
        )
    known = {*_OF_SSL, "mode", "verify_mode", "check_hostname"}
    for name in value:
        if name not in known:
            raise ConfigurationError(
                f"The extra 'ssl' of the MySQL connection has an unknown member {name!r}.",
                hint=f"use {', '.join(sorted(known))}",
            )
    return {name: item for name, item in value.items() if item is not None and item != ""}


# --- values ---


def _mode_name(value: object) -> str:
    name = str(value).upper()
    if name not in SSL_MODES:
        raise ConfigurationError(
            f"ssl_mode={value!r} of the MySQL connection.", hint=f"use one of {', '.join(SSL_MODES)}"
        )
    return name


def _secret(value: object) -> Secret:
    return value if isinstance(value, Secret) else Secret(str(value))


_CONVERTERS: Final[Mapping[str, Any]] = {
    "host": str, "port": int, "database": str, "user": str, "password": _secret, "unix_socket": str,
    "ssl_mode": _mode_name, **{f"ssl_{name}": str for name in _OF_SSL}, "connect_timeout": float,
    "read_timeout": float, "lock_timeout": float, "statement_timeout": float, "application_name": str, "identity": str,
}  # fmt: skip


def _converted(name: str, value: object) -> object:
    try:
        return _CONVERTERS[name](value)
    except (TypeError, ValueError):
        message = f"{name}={value!r} of the MySQL connection is not a number."
        raise ConfigurationError(message, hint="give a number") from None
