"""The secrets that files of configuration refer to, read from Airflow's connections and variables."""

from __future__ import annotations

import json
from typing import Any

from airflow_elt_provider._compat import mask_secret, variable
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection, extras
from airflow_elt_provider.remotes.config_as_code.secret_values import HINT, extra_at


def airflow_secret(reference: str) -> Secret:
    """Return the value of ``conn:<conn_id>.<field>`` or ``var:<name>``, and let Airflow mask it everywhere.

    Fields are ``password``, ``login``, ``host``, ``extra`` (all of it, as JSON) and ``extra.<key>``. What is no text is
    given as JSON.

    :raises ConfigurationError: for a reference that leads nowhere.
    """
    kind, _, rest = reference.partition(":")
    value = variable(rest) if kind == "var" else _of_connection(rest)
    if value is None or value == "":
        raise ConfigurationError(f"The reference {reference!r} leads to nothing.", hint=f"give it a value, or {HINT}")
    text = value if isinstance(value, str) else json.dumps(value)
    mask_secret(text)
    return Secret(text)


def _of_connection(text: str) -> Any:
    conn_id, _, field = text.partition(".")
    connection = airflow_connection(conn_id)
    if field in {"password", "login", "host"}:
        return getattr(connection, field)
    return extra_at(extras(connection), field.partition(".")[2])
