"""BigQuery through Airflow's own Google connection: who works, in which project, under which labels."""

from __future__ import annotations

import json

import pytest

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.bigquery import EltBigQueryHook
from tests.airflow.in_process import environment
from tests.fakes.google import FakeGoogle

ELT = "elt@proj.iam.gserviceaccount.com"


def hook(**extra):
    return environment(AIRFLOW_CONN_BQ=json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))


def test_the_extra_says_where():
    ours = {"elt_dataset": "raw", "elt_state_dataset": "elt", "elt_max_uris": "7", "location": "EU"}
    with hook(project="acme", is_anonymous=True, **ours):
        settings = EltBigQueryHook("bq").settings()
    found = (settings.project, settings.dataset, settings.state_dataset, settings.location, settings.max_uris)
    assert found == ("acme", "raw", "elt", "EU", 7)
    with hook(project="acme", elt_project="jobs", elt_location="US", location="EU", is_anonymous=True):
        settings = EltBigQueryHook("bq").settings()
    assert (settings.project, settings.location) == ("jobs", "US")


def test_a_key_is_read_when_it_is_needed_and_not_shown(tmp_path):
    with FakeGoogle() as google:
        key = google.service_account(ELT, tmp_path / "key.json")
        with hook(keyfile_dict=key.read_text()):
            settings = EltBigQueryHook("bq").settings()
            assert settings.project == json.loads(key.read_text())["project_id"]
            assert settings.credentials().service_account_email == ELT
            assert "PRIVATE KEY" not in repr(settings)


def test_a_bad_key_is_said():
    with hook(project="acme", keyfile_dict="{no json"):
        settings = EltBigQueryHook("bq").settings()
        with pytest.raises(ConfigurationError, match="no usable Google credentials"):
            settings.credentials()


def test_jobs_are_labelled_with_dag_and_task():
    task = {"AIRFLOW_CTX_DAG_ID": "My DAG.daily", "AIRFLOW_CTX_TASK_ID": "rental"}
    with hook(project="acme", is_anonymous=True), environment(**task):
        labels = EltBigQueryHook("bq").settings().labels
    assert labels == {"elt_dag": "my_dag_daily", "elt_task": "rental"}


def test_an_unknown_extra_of_ours_is_refused():
    with (
        hook(project="acme", is_anonymous=True, elt_datset="raw"),
        pytest.raises(ConfigurationError, match="elt_datset"),
    ):
        EltBigQueryHook("bq").settings()


def test_no_source_and_its_lineage():
    with hook(project="acme", elt_dataset="raw", is_anonymous=True):
        own = EltBigQueryHook("bq")
        with pytest.raises(ConfigurationError, match="no source"):
            own.get_source()
        assert repr(own.get_destination()) == "BigQueryDestination(\"BigQuery project 'acme'\")"
        for target in ("item", "raw.item", "acme.raw.item"):
            assert own.lineage_name(TableRef.parse(target)) == ("bigquery", "acme.raw.item")
