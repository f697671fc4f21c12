"""What a new connection, or a change of one, may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fakes.fivetran_model import SETTINGS
from tests.fakes.fivetran_wire import RefusedError

CONTROL = {"trust_certificates", "trust_fingerprints", "run_setup_tests"}
"""They say how setup tests run and are kept nowhere; a change needs something else too."""
ELSEWHERE = {"destination_configuration", "external_secrets_keys_config", "connect_card_config"}
WRITABLE = SETTINGS.keys() - {"service_version", "connected_by"}
ONCE = {"destination_schema_names"}
NEW = {"group_id", "service", "paused", "schedule_type", "config", "auth"} | WRITABLE | CONTROL | ELSEWHERE
CHANGED = (
    {"paused", "schedule_type", "is_historical_sync", "config", "auth", "schema_status"}
    | (WRITABLE - ONCE) | CONTROL | ELSEWHERE
)  # fmt: skip
NAMING = ("schema", "schema_prefix", "table", "table_group_name")
"""The keys of `config` that name the connection: told once, and never answered."""
CHOICES: dict[str, tuple[object, ...]] = {
    "schedule_type": ("auto", "manual"),
    "sync_frequency": (1, 5, 15, 30, 60, 120, 180, 360, 480, 720, 1440),
    "networking_method": ("Directly", "PrivateLink", "SshTunnel", "ProxyAgent"),
    "data_delay_sensitivity": ("LOW", "NORMAL", "HIGH", "CUSTOM", "SYNC_FREQUENCY"),
    "destination_schema_names": ("FIVETRAN_NAMING", "SOURCE_NAMING"),
    "schema_status": ("blocked_on_capture", "ready"),
}
PREFIXED = {
    "airtable", "aurora", "aurora_postgres", "azure_postgres", "azure_sql_db", "bigquery_db", "cockroachdb",
    "documentdb", "google_cloud_mysql", "google_cloud_postgresql", "google_cloud_sqlserver", "heroku_postgres",
    "magento_mysql", "maria", "maria_rds", "mongo", "mysql", "mysql_azure", "mysql_rds", "oracle", "oracle_rds",
    "postgres", "postgres_rds", "sap_hana_db", "snowflake_db", "sql_server", "sql_server_rds",
}  # fmt: skip
TABLED = {"google_sheets", "kinesis", "mixpanel", "slack", "webhooks", "algolia", "aws_cost_report"}
GROUPED = {"azure_blob_storage", "box", "dropbox", "email", "ftp", "gcs", "google_drive", "s3", "sftp", "share_point"}


def refuse_wrong(body: Mapping[str, Any], known: set[str]) -> None:
    """Refuse what there is not, and words that are none."""
    if unknown := body.keys() - known:
        raise RefusedError(400, "InvalidInput", f"Unknown property '{min(unknown)}'")
    for key, choices in CHOICES.items():
        if key in body and body[key] not in choices:
            raise RefusedError(400, "InvalidInput", f"{key} must be one of {choices}")


def naming_of(service: str) -> tuple[str, ...]:
    """Return the keys of `config` that name a connection of this service."""
    if service in PREFIXED:
        return ("schema_prefix",)
    if service in TABLED:
        return ("schema", "table")
    return ("schema", "table_group_name") if service in GROUPED else ("schema",)


def name_of(service: str, config: Mapping[str, Any]) -> str:
    """Return the name of a new connection: its `schema`."""
    needed = naming_of(service)
    for key in needed:
        if not config.get(key):
            raise RefusedError(400, "InvalidInput", f"config.{key} is required for service '{service}'")
    if strange := [key for key in NAMING if key in config and key not in needed]:
        raise RefusedError(400, "InvalidInput", f"Unknown property 'config.{strange[0]}' for service '{service}'")
    return ".".join(str(config[key]) for key in needed)
