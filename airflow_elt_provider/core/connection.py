"""A connection as Airflow writes it in ``AIRFLOW_CONN_*``, read without Airflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class ConnectionParts:
    """The fields of an Airflow connection; see "Managing Connections" in Airflow's documentation for both formats."""

    conn_id: str
    conn_type: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: Secret | None = None
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, conn_id: str, text: str) -> ConnectionParts:
        """Read a connection URI or JSON object.

        :raises ConfigurationError: when it is neither; the text is not shown, it may hold a password.
        """
        try:
            return cls._from_json(conn_id, text) if text.lstrip().startswith("{") else cls._from_uri(conn_id, text)
        except (ValueError, TypeError, KeyError):
            raise ConfigurationError(
                f"Connection {conn_id!r} is neither a connection URI nor a JSON object.",
                hint=f"see the form in Airflow's documentation and correct AIRFLOW_CONN_{conn_id.upper()}",
            ) from None

    @classmethod
    def _from_json(cls, conn_id: str, text: str) -> ConnectionParts:
        value = json.loads(text)
        extra = value.get("extra") or {}
        return cls(
            conn_id, value["conn_type"], value.get("host") or None, int(value["port"]) if value.get("port") else None,
            value.get("login") or None, _secret(value.get("password")), value.get("schema") or None,
            json.loads(extra) if isinstance(extra, str) else extra,
        )  # fmt: skip

    @classmethod
    def _from_uri(cls, conn_id: str, text: str) -> ConnectionParts:
        uri = urlsplit(text)
        if not uri.scheme:
            raise ValueError(conn_id)
        query = dict(parse_qsl(uri.query, keep_blank_values=True))
        extra = json.loads(query.pop("__extra__")) if "__extra__" in query else query
        conn_type = "postgres" if uri.scheme == "postgresql" else uri.scheme.replace("-", "_")
        return cls(
            conn_id, conn_type, _text(uri.hostname), uri.port, _text(uri.username), _secret(_text(uri.password)),
            _text(uri.path.removeprefix("/")), extra,
        )  # fmt: skip


def _text(value: str | None) -> str | None:
    return unquote(value) if value else None


def _secret(value: object) -> Secret | None:
    return Secret(str(value)) if value else None
