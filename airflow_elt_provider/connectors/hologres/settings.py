"""Where a Hologres instance is, how to log in, and how far to trust it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.errors import ConfigurationError


class Transactions(StrEnum):
    """Whether merges run in DML transactions."""

    AUTO = "auto"
    """where the instance has them: 2.0 and later"""
    ON = "on"
    OFF = "off"


class Timestamps(StrEnum):
    """What becomes of moments in time, which Hologres' ``timestamptz`` keeps in milliseconds only."""

    EXACT = "exact"
    """``timestamp`` in UTC, which keeps microseconds"""
    MILLISECONDS = "milliseconds"
    """``timestamptz``, cut to milliseconds"""


_E = TypeVar("_E", bound=StrEnum)
PORT: Final = 80
_ENDPOINT: Final = re.compile(r"(?P<host>[^:/]+):(?P<port>\d+)")


@dataclass(frozen=True, kw_only=True)
class HologresSettings(PostgresSettings):
    """A Hologres connection, without the connection.

    :param user: AccessKey id of a RAM user, or ``BASIC$name``.
    :param password: AccessKey secret, or that user's password.
    """

    port: int = PORT
    elt_transactions: Transactions = Transactions.AUTO
    timestamptz: Timestamps = Timestamps.EXACT

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> HologresSettings:
        """Read what :meth:`PostgresSettings.parse` reads, ``elt_transactions`` and ``timestamptz``.

        :raises ConfigurationError: for a keyword or a value that is not known.
        """
        given = dict(value)
        own = {
            "elt_transactions": _chosen(Transactions, given.pop("elt_transactions", None), "elt_transactions"),
            "timestamptz": _chosen(Timestamps, given.pop("timestamptz", None), "timestamptz"),
        }
        given = {key: item for key, item in given.items() if item is not None and item != ""}
        endpoint = _ENDPOINT.fullmatch(str(given.get("host", "")))
        if endpoint:  # as the console shows it
            given = {"port": endpoint["port"], **given, "host": endpoint["host"]}
        found = super().parse({"port": PORT, **given})
        return cls(**{**vars(found), **own})


def of_connection(parts: ConnectionParts) -> HologresSettings:
    """Read a connection without Airflow; see :meth:`HologresSettings.parse`."""
    own = {
        "host": parts.host, "port": parts.port, "user": parts.login, "password": parts.password, "dbname": parts.schema,
    }  # fmt: skip
    return HologresSettings.parse({**own, **parts.extra})


def _chosen(kind: type[_E], value: object, name: str) -> _E:
    members = list(kind)
    if value is None or value == "":
        return members[0]
    if isinstance(value, bool):  # YAML and JSON spell on and off so, too
        value = "on" if value else "off"
    try:
        return kind(str(value).lower())
    except ValueError:
        raise ConfigurationError(
            f"{name}={value!r} of the Hologres connection is unknown.", hint=f"use one of {', '.join(members)}"
        ) from None
