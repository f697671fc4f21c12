"""The secrets that files of configuration refer to, from the environment."""

from __future__ import annotations

import json
import os
from typing import Any

from airflow_elt_provider.cli.systems import connection
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.plan import Plan
from airflow_elt_provider.remotes.config_as_code.secret_values import NOT_EXPORTED, extra_at, references


def from_environment(reference: str) -> Secret:
    """Return what ``conn:<id>.<field>`` stands for (``AIRFLOW_CONN_<ID>``), or ``var:<name>`` (``AIRFLOW_VAR_<NAME>``).

    :raises ConfigurationError: names the variable to export.
    """
    kind, _, rest = reference.partition(":")
    return _variable(rest) if kind == "var" else _of_connection(*rest.split(".", 1))


def refuse_missing(plan: Plan) -> None:
    """Look every secret up that a plan writes, before anything is done. :raises ConfigurationError: for the first."""
    for change in plan.changes:
        for _, text in references(change.sent):
            if text != NOT_EXPORTED:
                from_environment(text)


def _variable(name: str) -> Secret:
    exported = f"AIRFLOW_VAR_{name.upper()}"
    text = os.environ.get(exported)
    if not text:
        raise ConfigurationError(
            f"A file refers to the variable {name!r}, which is not defined.", hint=f"export {exported}"
        )
    return Secret(text)


def _of_connection(conn_id: str, field: str) -> Secret:
    parts = connection(conn_id)
    place, _, key = field.partition(".")
    found: Any
    if place == "password":
        found = parts.password.reveal() if parts.password else None
    elif place == "extra":
        found = extra_at(parts.extra, key)
    else:
        found = getattr(parts, place)
    if found is None or found == "":
        raise ConfigurationError(
            f"A file refers to {field} of connection {conn_id!r}, which has none.",
            hint=f"export AIRFLOW_CONN_{conn_id.upper()} with it",
        )
    return Secret(found if isinstance(found, str) else json.dumps(found))
