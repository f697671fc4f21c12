"""Databricks logins, as Airflow's own hook reads them."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("airflow.providers.databricks")

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.databricks import EltDatabricksHook
from tests.airflow.in_process import environment

EXTRA = {"http_path": "/sql/1.0/warehouses/w"}


def connection(password="dapi-secret", login="", host="https://dbc.cloud.databricks.com/", **extra):
    value = {"conn_type": "databricks", "host": host, "login": login, "password": password, "extra": extra}
    return json.dumps(value)


def settings(text, **variables):
    with environment(AIRFLOW_CONN_DBX=text, **variables):
        return EltDatabricksHook("dbx").settings()


def test_a_personal_access_token_and_everything_else():
    told = {"catalog": "main", "schema": "raw", "_port": 8443, "elt_claim_seconds": 60, "azure_resource_id": None}
    found = settings(
        connection(**EXTRA, **told, session_configuration={"STATEMENT_TIMEOUT": "600"}),
        AIRFLOW_CTX_DAG_ID="elt", AIRFLOW_CTX_TASK_ID="actor",
    )  # fmt: skip
    assert (found.host, found.http_path) == ("dbc.cloud.databricks.com", "/sql/1.0/warehouses/w")
    assert (found.catalog, found.schema, found.claim_seconds) == ("main", "raw", 60.0)
    assert found.options == {"_port": 8443, "session_configuration": {"STATEMENT_TIMEOUT": "600"}}
    assert found.token.reveal() == "dapi-secret"
    assert "dapi-secret" not in repr(found)
    assert (found.tags["dag"], found.tags["task"]) == ("elt", "actor")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (connection(), "names no SQL warehouse"),
        (connection(password="", **EXTRA), "gives no token"),
        (connection(host="", **EXTRA), "has no host"),
        (connection(elt_volum="x", **EXTRA), "elt_volum"),
    ],
)
def test_what_is_missing_is_said(text, problem):
    with pytest.raises(ConfigurationError, match=problem):
        settings(text)


def test_it_is_no_source():
    with pytest.raises(ConfigurationError, match="no source"):
        EltDatabricksHook("dbx").get_source()


def test_lineage():
    with environment(AIRFLOW_CONN_DBX=connection(**EXTRA, catalog="main", schema="raw")):
        hook = EltDatabricksHook("dbx")
        assert hook.lineage_name(TableRef(("Item",))) == ("databricks://dbc.cloud.databricks.com", "main.raw.item")
        assert hook.lineage_name(TableRef(("a", "b", "c")))[1] == "a.b.c"
