"""Where a PostgreSQL server is and how to log in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg2
from psycopg2.extensions import make_dsn

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

KEEPALIVES: Final = {"keepalives": "1", "keepalives_idle": "60", "keepalives_interval": "15", "keepalives_count": "4"}
"""A connection whose peer vanished is noticed after two minutes, and firewalls see it alive during long queries."""
_OWN: Final = {"database": "dbname", "login": "user", "username": "user"}


@dataclass(frozen=True, kw_only=True)
class PostgresSettings:
    """A PostgreSQL connection, without the connection.

    :param options: libpq's further keywords (``sslmode``, ``sslrootcert``, ``options``, ``target_session_attrs`` ...);
        they win over what is set here.
    :param connect_timeout: seconds.
    :param lock_timeout: seconds that a statement waits for a lock; 0 waits for ever.
    :param statement_timeout: seconds that a statement may run; 0 is no limit.
    """

    host: str = ""
    port: int = 5432
    dbname: str = ""
    user: str = ""
    password: Secret | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: int = 30
    application_name: str = "airflow-elt-provider"
    lock_timeout: float = 60.0
    statement_timeout: float = 0.0

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> PostgresSettings:
        """Read libpq's keywords (also ``database`` and ``login``), ``lock_timeout`` and ``statement_timeout``.

        Keys whose value is None or "" count as absent.

        :raises ConfigurationError: for a keyword that libpq does not know, or a number that is none.
        """
        given = {_OWN.get(key, key): item for key, item in value.items() if item is not None and item != ""}
        password = given.pop("password", None)
        own: dict[str, Any] = {}
        if password is not None:
            own["password"] = password if isinstance(password, Secret) else Secret(str(password))
        for name, convert in _CONVERTERS.items():
            if name in given:
                own[name] = _converted(name, given.pop(name), convert)
        options = {key: str(item) for key, item in given.items()}
        _refuse_unknown(options)
        return cls(**own, options=options)

    def keywords(self) -> dict[str, str]:
        """Return libpq's keywords, without the password."""
        mine = {
            "host": self.host, "port": str(self.port), "dbname": self.dbname, "user": self.user,
            "connect_timeout": str(self.connect_timeout), "application_name": self.application_name, **KEEPALIVES,
        }  # fmt: skip
        return {key: value for key, value in {**mine, **self.options}.items() if value}

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.dbname}"


def of_connection(parts: ConnectionParts) -> PostgresSettings:
    """Read a connection without Airflow; see :meth:`PostgresSettings.parse`."""
    own = {
        "host": parts.host, "port": parts.port, "user": parts.login, "password": parts.password, "dbname": parts.schema,
    }  # fmt: skip
    return PostgresSettings.parse({**own, **parts.extra})


_CONVERTERS: Final[Mapping[str, type]] = {
    "host": str, "port": int, "dbname": str, "user": str, "connect_timeout": int, "application_name": str,
    "lock_timeout": float, "statement_timeout": float,
}  # fmt: skip


def _converted(name: str, value: object, convert: type) -> object:
    try:
        return convert(value)
    except (TypeError, ValueError):
        message = f"{name}={value!r} of the PostgreSQL connection is not a number."
        raise ConfigurationError(message, hint="give a number") from None


def _refuse_unknown(options: Mapping[str, str]) -> None:
    try:
        make_dsn(**options)
    except psycopg2.ProgrammingError as error:
        raise ConfigurationError(
            f"The PostgreSQL connection has an extra that libpq does not know: {str(error).strip()}.",
            hint="take it out; libpq's documentation lists the keywords (sslmode, sslrootcert, options ...)",
        ) from None
