"""Whether BigQuery runs jobs for us, and where the datasets are."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_elt_provider.connectors.bigquery.catalog import location_of
from airflow_elt_provider.connectors.bigquery.jobs import BigQueryJobs
from airflow_elt_provider.connectors.bigquery.settings import BigQuerySettings
from airflow_elt_provider.core.doctor import Finding, Inquiry, note, ok


def examine(jobs: BigQueryJobs, settings: BigQuerySettings, inquiry: Inquiry) -> Iterator[Finding]:
    """Run a query that costs nothing, and look the datasets up."""
    jobs.query("examining BigQuery", "SELECT 1")
    yield ok("connect", f"runs queries in project {settings.project} (bigquery.jobs.create), over TLS")
    targets = [table.parts[-2] for table in inquiry.tables if len(table.parts) > 1]
    for dataset in dict.fromkeys([settings.state_dataset, settings.dataset, *targets]):
        if dataset:
            yield _dataset(jobs, settings.project, dataset)


def _dataset(jobs: BigQueryJobs, project: str, dataset: str) -> Finding:
    location = location_of(jobs, project, dataset)
    if location:
        return ok(f"dataset {dataset}", f"in {location}")
    return note(
        f"dataset {dataset}", "it does not exist (or bigquery.datasets.get is missing): the first load creates it",
        f"grant bigquery.datasets.create (roles/bigquery.user) on project {project}, or create it and grant "
        "roles/bigquery.dataEditor on it",
    )  # fmt: skip
