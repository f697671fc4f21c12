"""Types, names, options and errors: what is decided before, or after, BigQuery is asked."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from airflow_elt_provider.connectors.bigquery import names
from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect
from airflow_elt_provider.connectors.bigquery.failures import AbortedError, MissingError, translate
from airflow_elt_provider.connectors.bigquery.options import TableOptions
from airflow_elt_provider.connectors.bigquery.settings import BigQuerySettings, of_connection
from airflow_elt_provider.connectors.bigquery.types import alterable, column_type, converted, fit, spelled
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError
from tests.connectors.staged_loads import column

COLUMNS = {
    "id": "INT64", "day": "DATE", "at": "DATETIME", "moment": "TIMESTAMP", "x y": "STRING", "doc": "JSON",
    "f": "FLOAT64",
}  # fmt: skip


# --- types ---


@pytest.mark.parametrize(
    ("declared", "type_"),
    [
        ("smallint", "INT64"), ("bigint", "INT64"), ("real", "FLOAT64"), ("boolean", "BOOL"), ("bytea", "BYTES"),
        ("decimal(38,9)", "NUMERIC(38,9)"), ("decimal(38,8)", "BIGNUMERIC(38,8)"),
        ("decimal(10,10)", "BIGNUMERIC(10,10)"),
        ("decimal(38,38)", "BIGNUMERIC(38,38)"), ("timestamp", "DATETIME"), ("timestamptz", "TIMESTAMP"),
        ("time", "TIME"), ("json", "JSON"), ("uuid", "STRING"),
    ],
)  # fmt: skip
def test_types(declared: str, type_: str) -> None:
    assert column_type(column(f"c {declared}"), "json") == type_


def test_json_may_be_text() -> None:
    assert column_type(column("c json"), "string") == "STRING"
    assert column_type(column("c text", format="array", source_type="integer[]"), "string") == "STRING"
    assert not BigQueryDialect("p", json="string").parses(column("c json"))


@pytest.mark.parametrize(
    ("current", "arriving", "how"),
    [
        ("INT64", "INT64", Fit.SAME), ("STRING", "JSON", Fit.FITS), ("INT64", "NUMERIC(38,9)", Fit.WIDENS),
        ("INT64", "NUMERIC(10,2)", Fit.CONFLICTS), ("NUMERIC(10,2)", "NUMERIC(12,2)", Fit.WIDENS),
        ("NUMERIC(12,2)", "NUMERIC(10,2)", Fit.FITS), ("NUMERIC(12,2)", "NUMERIC(12,4)", Fit.CONFLICTS),
        ("NUMERIC", "BIGNUMERIC(40,10)", Fit.WIDENS), ("BIGNUMERIC", "NUMERIC(38,9)", Fit.FITS),
        ("INT64", "FLOAT64", Fit.CONFLICTS), ("FLOAT64", "INT64", Fit.CONFLICTS), ("DATE", "TIMESTAMP", Fit.CONFLICTS),
        ("STRING(10)", "STRING", Fit.WIDENS), ("STRING(10)", "JSON", Fit.CONFLICTS),
    ],
)  # fmt: skip
def test_fit(current: str, arriving: str, how: Fit) -> None:
    assert fit(current, arriving) is how
    if how is Fit.WIDENS:
        assert alterable(current, arriving)


def test_what_the_api_says_is_spelled_as_sql() -> None:
    assert spelled("INTEGER") == "INT64"
    assert spelled("NUMERIC", "NULLABLE", 12, None) == "NUMERIC(12,0)"
    assert spelled("STRING", length=10) == "STRING(10)"
    assert spelled("FLOAT", "REPEATED") == "ARRAY<FLOAT64>"


def test_conversions_keep_the_digits_that_the_type_says() -> None:
    assert converted("x", "INT64", "STRING") == "CAST(x AS STRING)"
    assert converted("x", "JSON", "STRING") == "TO_JSON_STRING(x)"
    assert "ROUND(SAFE_CAST(x AS NUMERIC), 2)" in converted("x", "FLOAT64", "NUMERIC(10,2)")
    assert converted("x", "DATE", "TIMESTAMP") == "SAFE_CAST(CAST(x AS STRING) AS TIMESTAMP)"


# --- names ---


@pytest.mark.parametrize("name", ["a.b", 'Käse "1"', "back\\slash", "a`b", "x" * 301, "_PARTITIONDATE", "_table_x"])
def test_names_that_bigquery_has_not(name: str) -> None:
    with pytest.raises(ConfigurationError, match="rename="):
        names.refuse_columns([name], "public.item")


def test_names_that_bigquery_has() -> None:
    names.refuse_columns(["with space", "日本", "100%", "it's", "select", "x" * 300, "a:b&c"], "public.item")
    with pytest.raises(ConfigurationError, match="case does not count"):
        names.refuse_columns(["id", "ID"], "public.item")


@pytest.mark.parametrize("target", ["raw.a$b", "my-dataset.item", '"ünder".item', f"raw.{'x' * 1025}"])
def test_targets_that_bigquery_has_not(target: str) -> None:
    with pytest.raises(ConfigurationError, match="BigQuery has no"):
        names.refuse_table(TableRef.parse(target))


def test_targets_are_qualified_in_full() -> None:
    dialect = BigQueryDialect("acme", "raw")
    assert dialect.table(TableRef.parse("item")) == "`acme`.`raw`.`item`"
    assert dialect.table(TableRef.parse('"example.com:acme".raw."my item"')) == "`example.com:acme`.`raw`.`my item`"
    for wrong in (TableRef(("item",)), TableRef(("a", "b", "c", "d"))):
        with pytest.raises(ConfigurationError, match=r"dataset\.table"):
            BigQueryDialect("acme").table(wrong)


def test_literals_and_labels() -> None:
    assert names.literal("it's\n\\") == r"'it\'s\n\\'"
    assert names.label("My DAG/Daily (日)") == "my_dag_daily____"
    assert len(names.label("x" * 100)) == 63


# --- options ---


@pytest.mark.parametrize(
    ("given", "sql"),
    [
        ("day", "`day`"), ("DATE(moment)", "DATE(`moment`)"), ("date(`at`)", "DATE(`at`)"),
        ("timestamp_trunc(MOMENT, hour)", "TIMESTAMP_TRUNC(`moment`, HOUR)"),
        ("DATETIME_TRUNC(at, YEAR)", "DATETIME_TRUNC(`at`, YEAR)"),
        ("DATE_TRUNC(day, MONTH)", "DATE_TRUNC(`day`, MONTH)"),
        ("RANGE_BUCKET(id, GENERATE_ARRAY(-10, 100, 10))", "RANGE_BUCKET(`id`, GENERATE_ARRAY(-10, 100, 10))"),
        ("_PARTITIONDATE", "_PARTITIONDATE"),
    ],
)  # fmt: skip
def test_partitioning(given: str, sql: str) -> None:
    assert TableOptions.parse({"partition_by": given}, COLUMNS, "raw.item").sql == f" PARTITION BY {sql}"


@pytest.mark.parametrize(
    "options",
    [
        {"partition_by": "moment"}, {"partition_by": "DATE(day)"}, {"partition_by": "nowhere"},
        {"partition_by": "DATE(moment) OPTIONS(x=1)"}, {"partition_by": "DATE_TRUNC(day, HOUR)"}, {"partition_by": 7},
        {"partition_by": "RANGE_BUCKET(id, GENERATE_ARRAY(0, 100, SESSION_USER()))"},
        {"cluster_by": ["doc"]}, {"cluster_by": ["f"]}, {"cluster_by": "nowhere"}, {"cluster_by": ["id"] * 5},
        {"require_partition_filter": True}, {"partition_by": "day", "require_partition_filter": "yes"},
        {"partition_by": "day", "partition_expiration_days": -1}, {"labels": ["a"]}, {"labels": {"a": 1}},
        {"description": 1},
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"table_options of raw\.item"):
        TableOptions.parse(options, COLUMNS, "raw.item")


def test_options_in_full() -> None:
    given = {
        "partition_by": "day", "cluster_by": "X Y", "require_partition_filter": False, "partition_expiration_days": 1.5,
        "kms_key_name": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
    }  # fmt: skip
    assert TableOptions.parse(given, COLUMNS, "t").sql == (
        " PARTITION BY `day` CLUSTER BY `x y` OPTIONS (require_partition_filter = FALSE, "
        "partition_expiration_days = 1.5, kms_key_name = 'projects/p/locations/l/keyRings/r/cryptoKeys/k')"
    )


# --- settings ---


def test_settings_say_what_is_wrong() -> None:
    with pytest.raises(ConfigurationError, match="names no project"):
        BigQuerySettings.parse({})
    for wrong in ({"elt_json": "text"}, {"elt_max_uris": "many"}, {"elt_max_uris": 0}, {"elt_colour": "red"}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            BigQuerySettings.parse(wrong, project="acme")
    ours = BigQuerySettings.parse({"elt_project": "b", "elt_max_uris": "5", "project": "x"}, project="acme")
    assert (ours.project, ours.max_uris) == ("b", 5)
    assert "secret" not in repr(BigQuerySettings("acme", credentials=lambda: "secret"))


def test_a_connection_without_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
    parts = ConnectionParts("bq", "google_cloud_platform", extra={"project": "acme", "elt_dataset": "raw"})
    assert of_connection(parts) == BigQuerySettings("acme", "raw")
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")
    wrong = ConnectionParts("bq", "google_cloud_platform", extra={"project": "acme", "keyfile_dict": {"type": "none"}})
    with pytest.raises(ConfigurationError, match="keyfile_dict"):
        of_connection(wrong)


# --- errors, in Google's words ---


def told(error: Exception) -> Exception:
    with pytest.raises(Exception) as caught, translate("Merging into raw.item"):  # noqa: PT011 - any of them
        raise error
    return caught.value


def answer(kind: type[api.GoogleAPICallError], reason: str, message: str) -> api.GoogleAPICallError:
    return kind(message, errors=[{"reason": reason, "message": message}])


@pytest.mark.parametrize(
    ("message", "role"),
    [
        ("Access Denied: Project acme: User does not have bigquery.jobs.create permission in project acme.",
         "roles/bigquery.jobUser on the project"),
        ("Access Denied: Table acme:raw.item: Permission bigquery.tables.updateData denied on table acme:raw.item.",
         "roles/bigquery.dataEditor on the dataset"),
        ("Permission bigquery.tables.create denied on dataset acme:raw (or it may not exist).",
         "bigquery.tables.create"),
        ("Access Denied: Project acme: User does not have bigquery.datasets.create permission in project acme.",
         "roles/bigquery.user on the project"),
        ("File gs://s/p: elt@acme.iam does not have storage.objects.get access to the Google Cloud Storage object.",
         "roles/storage.objectViewer"),
        ("Access Denied: something new", "roles/bigquery.jobUser"),
    ],
)  # fmt: skip
def test_a_denied_permission_names_its_role(message: str, role: str) -> None:
    error = told(answer(api.Forbidden, "accessDenied", message))
    assert isinstance(error, ConfigurationError)
    assert role in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer(api.BadRequest, "invalidQuery", "Transaction is aborted due to concurrent update against table "
                "acme:raw.item. Transaction ID: 6"), AbortedError),
        (answer(api.BadRequest, "invalidQuery", "Could not serialize access to table acme:raw.item due to concurrent "
                "update"), AbortedError),
        (answer(api.NotFound, "notFound", "Not found: Dataset acme:raw was not found in location EU"), MissingError),
        (answer(api.Forbidden, "rateLimitExceeded", "Exceeded rate limits: too many table update operations"),
         TransientError),
        (answer(api.Forbidden, "quotaExceeded", "Quota exceeded"), TransientError),
        (answer(api.InternalServerError, "backendError", "Error encountered during execution"), TransientError),
        (answer(api.ServiceUnavailable, "", "try later"), TransientError),
        (answer(api.BadRequest, "stopped", "Job execution was cancelled"), TransientError),
        (answer(api.BadRequest, "bytesBilledLimitExceeded", "Query exceeded limit"), ConfigurationError),
        (answer(api.BadRequest, "invalidQuery", "UPDATE/MERGE must match at most one source row"), DataError),
        (answer(api.BadRequest, "invalid", "Error while reading data, error message: x"), DataError),
        (answer(api.BadRequest, "invalidQuery", "Unrecognized name: nme at [1:8]"), ConfigurationError),
        (answer(api.BadRequest, "notFound", "Not found: URI gs://stage/part-0.parquet"), FileNotFoundError),
        (api.RetryError("timed out", cause=None), TransientError),
        (auth.TransportError("no route"), TransientError),
        (auth.RefreshError("invalid_grant"), ConfigurationError),
        (auth.DefaultCredentialsError("none"), ConfigurationError),
        (ConnectionResetError("reset"), TransientError),
    ],
)  # fmt: skip
def test_errors(error: Exception, kind: type[Exception]) -> None:
    assert isinstance(told(error), kind)
