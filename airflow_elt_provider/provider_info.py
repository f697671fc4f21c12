"""What Airflow is told about this package. Read by every Airflow process at its start, so it imports nothing heavy."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from airflow_elt_provider.hooks.forms import DUCKDB, HOLOGRES, Form
from airflow_elt_provider.hooks.remote_forms import REMOTE_FORMS

NAME: Final = "airflow-elt-provider"
_DOCS: Final = "https://github.com/airflow-elt-provider/airflow-elt-provider/tree/main/docs"
_PACKAGE: Final = "airflow_elt_provider"

_INTEGRATIONS: Final = (("ELT", ""), ("PostgreSQL", "postgres"), ("MySQL", "mysql"), ("DuckDB", "duckdb"),
                        ("Snowflake", "snowflake"), ("BigQuery", "bigquery"), ("Databricks", "databricks"),
                        ("Hologres", "hologres"), ("Files", "files"),
                        ("Airbyte", "airbyte"), ("Fivetran", "fivetran"), ("Digdag", "digdag"))  # fmt: skip
_OPERATORS: Final = (
    "checkpoint", "extract", "slot", "stage", "merge", "sync", "discover", "summary", "partitions", "plan",
    "reconcile", "gc", "guess", "remote", "remote_config", "ecs",
)  # fmt: skip
_SENSORS: Final = ("remote", "freshness", "schema_drift")
_TRIGGERS: Final = ("remote", "ecs")
_FORMS: Final = (DUCKDB, HOLOGRES, *REMOTE_FORMS)

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "stage": {
        "description": "URI of the stage, where files wait, when an operator names none. All workers must reach it.",
        "example": "s3://company-elt/prod",
        "default": None,
    },
    "stage_conn_id": {
        "description": "Connection of the stage, when an operator names none. A local folder needs none.",
        "example": "aws_default",
        "default": None,
    },
    "stage_retention": {
        "description": "Days after which StageCleanupOperator deletes a load's files, when it is not told otherwise.",
        "example": "7",
        "default": "7",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": NAME,
        "name": "ELT",
        "description": "Moves tables between systems: extracted, staged and merged exactly once. "
        f"`Documentation <{_DOCS}>`__",
        "integrations": [_integration(name) for name, _ in _INTEGRATIONS],
        "operators": [
            {"integration-name": "ELT", "python-modules": [f"{_PACKAGE}.operators.{name}" for name in _OPERATORS]}
        ],
        "sensors": [{"integration-name": "ELT", "python-modules": [f"{_PACKAGE}.sensors.{name}" for name in _SENSORS]}],
        "triggers": [
            {"integration-name": "ELT", "python-modules": [f"{_PACKAGE}.triggers.{name}" for name in _TRIGGERS]}
        ],
        "notifications": [f"{_PACKAGE}.notifications.slack.EltSlackNotifier"],
        "extra-links": [f"{_PACKAGE}.links.RemoteSyncLink"],
        "hooks": [
            {"integration-name": name, "python-modules": [f"{_PACKAGE}.hooks.{module}"]}
            for name, module in _INTEGRATIONS
            if module
        ],
        "connection-types": [form.provider_entry() for form in _FORMS if not _has_other_owner(form)],
        "config": {
            "elt": {
                "description": "Defaults of the operators of airflow-elt-provider.",
                "options": {
                    name: {**option, "type": "string", "version_added": "0.1.0"} for name, option in _OPTIONS.items()
                },
            }
        },
    }


def _integration(name: str) -> dict[str, Any]:
    return {"integration-name": name, "external-doc-url": _DOCS, "tags": ["service"]}


def _has_other_owner(form: Form) -> bool:
    """Say whether another installed package brings this connection type: it is registered by one only."""
    return any(
        _registers(entry, form.conn_type)
        for entry in entry_points(group="apache_airflow_provider")
        if _distribution(entry) not in {"", NAME} and _may_register(entry, form.conn_type)
    )


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name.lower().replace("_", "-") if entry.dist else ""


def _may_register(entry: EntryPoint, conn_type: str) -> bool:
    # Airflow's own providers are named after what they register: no need to load a hundred of them.
    name = _distribution(entry)
    return not name.startswith("apache-airflow-providers-") or conn_type in name


def _registers(entry: EntryPoint, conn_type: str) -> bool:
    try:
        info = entry.load()()
    except Exception:  # noqa: BLE001 - Airflow itself reports a broken provider; it must not break this one
        return False
    types = {kind.get("connection-type") for kind in info.get("connection-types", ())}
    return conn_type in types
