"""The example DAGs of remote configuration, really run: Airbyte behind its proxy, Google's bucket, and Slack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_elt_provider.remotes.tokens import TOKENS
from servers.gcs import GcsServer
from tests.airflow import in_process
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.google import FakeGoogle
from tests.fakes.iap import FakeIap
from tests.fakes.slack import FakeSlack, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "example_dags"
KEYED = "keyed@proj.iam.gserviceaccount.com"
FOLDER = "airbyte/default-workspace"
LOCK = f"{FOLDER}/sources/shop-source.lock.yaml"
STREAM = {"name": "orders", "fields": {"id": {"type": "integer"}, "note": {"type": "string"}}}
pytestmark = pytest.mark.skipif(in_process.AIRFLOW_2, reason="the oldest Airflow is tested without Google's provider")


@pytest.fixture(scope="module", autouse=True)
def quietly() -> Iterator[None]:
    with in_process.without_lineage():
        yield


@pytest.fixture
def airbyte() -> Iterator[FakeAirbyte]:
    with FakeAirbyte(public=False, config="0.40", auth="basic") as server:
        server.run_seconds = 0.3
        yield server


@pytest.fixture
def slack(airbyte: FakeAirbyte, tmp_path: Path) -> Iterator[FakeSlack]:
    """Let Airflow know Airbyte behind its proxy, and a webhook; return what hears the webhook."""
    TOKENS._places.clear()
    with FakeGoogle() as google, FakeIap(google, airbyte.url, members={KEYED}) as iap, FakeSlack() as server:
        key = google.service_account(KEYED, tmp_path / "key.json").read_text()
        extra = {"iap_audience": iap.audience, "keyfile_dict": key}
        fields = {"host": iap.url, "login": "airbyte", "password": "password", "extra": extra}
        connection = json.dumps({"conn_type": "eltairbyte", **fields})
        known = {"AIRFLOW_CONN_AIRBYTE_IAP": connection, "AIRFLOW_CONN_SLACK_DEFAULT": server.connection()}
        with in_process.environment(**known):
            yield server


@pytest.fixture
def bucket() -> Iterator[object]:
    with GcsServer() as gcs:
        gcs.create_bucket("acme-elt-config")
        with in_process.environment(AIRFLOW_CONN_GOOGLE=gcs.airflow_connection(), **gcs.env()):
            yield gcs.client().bucket("acme-elt-config")


def run(name: str, **conf: str) -> in_process.Run:
    copied = in_process.dags_folder() / f"{name}.py"
    copied.write_text((EXAMPLES / copied.name).read_text().replace('"retries": 2', '"retries": 0'))
    return in_process.run_file(copied, name, conf=conf)


def test_the_nightly_export_and_the_gate_before_a_sync(airbyte, slack, bucket):
    shop = airbyte.add_connection("shop", [STREAM])
    first = run("elt_remote_config")
    assert first.states == {"diff": "failed", "export": "success"}
    assert "it is no folder of exported configuration" in seen(slack.messages.pop())
    assert {blob.name for blob in bucket.list_blobs()} == {
        "airbyte/elt-remote.yaml", LOCK, f"{FOLDER}/sources/shop-source.yaml", f"{FOLDER}/connections/shop.yaml",
        f"{FOLDER}/destinations/shop-destination.yaml",
    }  # fmt: skip

    airbyte.connection(shop).settings |= {"prefix": "raw_"}
    second = run("elt_remote_config")
    assert second.states == {"diff": "failed", "export": "success"}
    assert second.xcoms["export"]["written"] == ["default-workspace/connections/shop.yaml"]
    told = seen(slack.messages.pop())
    assert "0 added, 1 changed, 0 removed" in told
    assert "/ shop: prefix" in told
    assert "*Note:* Was this meant?" in told

    wider = {**STREAM, "fields": {**STREAM["fields"], "total": {"type": "number"}}}
    airbyte.set_source_streams(shop, [wider])
    taken = run("elt_schema_gate", connection_id=shop)
    assert taken.states == {"sync": "success"}
    assert "total: number" in bucket.blob(LOCK).download_as_text()
    airbyte.set_source_streams(shop, ["orders"])
    assert run("elt_schema_gate", connection_id=shop).states == {"sync": "failed"}
    assert "field removed: orders.note (string)" in seen(slack.messages.pop())
    assert bucket.blob(LOCK.replace(".lock.", ".proposed.")).exists()
    assert len(airbyte.starts(shop)) == 1
    assert slack.messages == []
