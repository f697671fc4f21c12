"""Airflow connections, read the way all our hooks read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_elt_provider._compat import AirflowNotFoundException, BaseHook, Connection
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError


def airflow_connection(conn_id: str) -> Connection:
    """Return an Airflow connection.

    :raises ConfigurationError: when there is none of that name.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"Airflow has no connection {conn_id!r}.",
            hint=f"add it in the UI, or set AIRFLOW_CONN_{conn_id.upper()}",
        ) from None


def hash_keys(conn_ids: Iterable[str]) -> dict[str, Secret]:
    """Return the keys of ``hash_columns``: the passwords of these connections, without those that have none.

    :raises ConfigurationError: when there is no connection of such a name.
    """
    passwords = {conn_id: airflow_connection(conn_id).password for conn_id in dict.fromkeys(conn_ids)}
    return {conn_id: Secret(password) for conn_id, password in passwords.items() if password}


def extras(connection: Connection) -> dict[str, Any]:
    """Return a connection's extra without the fields that a form left empty (Airflow keeps those as null)."""
    values: Mapping[str, Any] = connection.extra_dejson
    return {name: value for name, value in values.items() if value is not None and value != ""}
