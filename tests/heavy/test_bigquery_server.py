"""The BigQuery server: what the tests of BigQuery's connector rely on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from servers.bigquery import BigQueryServer, prepare, unavailable

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of gs:// buckets with one file in one bucket."""
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "stage").mkdir()
    (folder / "stage" / "part-1.csv").write_text("id,name\n1,a\n2,b\n")
    return folder


@pytest.fixture(scope="module")
def server(buckets: Path) -> Iterator[BigQueryServer]:
    """A running server, or a skip with the reason."""
    if reason := unavailable():
        pytest.skip(reason)
    with BigQueryServer(buckets=buckets) as server:
        server.create_dataset("d")
        yield server


def submit(server: BigQueryServer, job: str, **configuration: object) -> requests.Response:
    """Insert a job under an id of one's own choice."""
    body = {"jobReference": {"projectId": server.project, "jobId": job}, "configuration": configuration}
    return requests.post(f"{server.rest}/jobs", json=body, timeout=60)


def test_environment_is_made_once(server: BigQueryServer) -> None:
    python = prepare()
    changed = python.lstat().st_mtime_ns
    assert prepare().lstat().st_mtime_ns == changed


def test_variables_name_the_server(server: BigQueryServer) -> None:
    assert requests.get(f"{server.env()['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects", timeout=60).ok


def test_dataset_exists_once(server: BigQueryServer) -> None:
    with pytest.raises(requests.HTTPError, match="409"):
        server.create_dataset("d")


def test_table_from_a_query(server: BigQueryServer) -> None:
    server.query("CREATE TABLE d.made AS SELECT 1 AS id, CAST(NULL AS STRING) AS name")
    assert server.query("SELECT * FROM d.made") == [{"id": "1", "name": None}]


def test_merge(server: BigQueryServer) -> None:
    server.query("CREATE TABLE d.target AS SELECT 1 AS id, 'old' AS name UNION ALL SELECT 2, 'kept'")
    server.query(
        """
        MERGE d.target t USING (SELECT 1 AS id, 'new' AS name UNION ALL SELECT 3, 'added') s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET name = s.name
        WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)
        """
    )
    rows = server.query("SELECT * FROM d.target ORDER BY id")
    assert [(row["id"], row["name"]) for row in rows] == [("1", "new"), ("2", "kept"), ("3", "added")]


def test_merge_refuses_two_rows_for_one(server: BigQueryServer) -> None:
    server.query("CREATE TABLE d.strict AS SELECT 1 AS id")
    with pytest.raises(RuntimeError, match="at most one source row"):
        server.query(
            "MERGE d.strict t USING (SELECT 1 AS id UNION ALL SELECT 1) s ON t.id = s.id WHEN MATCHED THEN DELETE"
        )


def test_job_id_is_taken_once(server: BigQueryServer) -> None:
    """The second answer is what makes a repeated insert safe."""
    query = {"query": "CREATE TABLE d.once AS SELECT 1 AS id", "useLegacySql": False}
    assert submit(server, "once", query=query).status_code == 200
    again = submit(server, "once", query=query)
    assert again.status_code == 409
    assert again.json()["error"]["errors"][0]["reason"] == "duplicate"
    found = requests.get(f"{server.rest}/jobs/once", timeout=60).json()
    assert found["status"]["state"] == "DONE"


def test_load_from_a_bucket(server: BigQueryServer) -> None:
    table = {"projectId": server.project, "datasetId": "d", "tableId": "loaded"}
    load = {
        "sourceUris": ["gs://stage/part-*.csv"],
        "destinationTable": table,
        "sourceFormat": "CSV",
        "skipLeadingRows": 1,
        "autodetect": True,
    }
    answer = submit(server, "load", load=load).json()
    assert answer["status"]["state"] == "DONE"
    assert "errorResult" not in answer["status"]
    assert server.query("SELECT COUNT(*) AS n FROM d.loaded") == [{"n": "2"}]


def test_missing_table_is_an_error(server: BigQueryServer) -> None:
    with pytest.raises(RuntimeError, match="Not found: Table"):
        server.query("SELECT * FROM d.nowhere")
