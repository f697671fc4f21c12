"""Airbyte's own client accepts what the fake Airbyte answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from airbyte_api import AirbyteAPI, api, models
from airbyte_api.errors import SDKError

from tests.fakes.airbyte import FakeAirbyte

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM = {"name": "users", "namespace": "app", "primary_key": ["id"], "cursor": "id"}


@pytest.fixture
def server() -> Iterator[FakeAirbyte]:
    """Run a server that wants tokens, and shows configurations as the SDK reads them."""
    with FakeAirbyte(auth="client_credentials", client_id="sdk", client_secret="sdk secret") as running:
        running.typed_configurations = True
        yield running


@pytest.fixture
def client(server: FakeAirbyte) -> AirbyteAPI:
    """Lend a client with the credentials of an application; the SDK keeps tokens by credentials, not by server."""
    credentials = models.SchemeClientCredentials(
        client_id="sdk", client_secret="sdk secret", token_url=f"{server.url}/api/public/v1/applications/token"
    )
    security = models.Security(client_credentials=credentials)
    return AirbyteAPI(server_url=f"{server.url}/api/public/v1", security=security)


def created(client: AirbyteAPI, connection: str, kind: models.JobTypeEnum = models.JobTypeEnum.SYNC):
    """Start a job."""
    request = models.JobCreateRequest(connection_id=connection, job_type=kind)
    return client.jobs.create_job(request=request).job_response


def test_jobs(server, client):
    connection = server.add_connection("shop", [STREAM])
    job = created(client, connection)
    assert job.status is models.JobStatusEnum.RUNNING
    server.finish(job.job_id, rows=3, bytes=30)
    done = client.jobs.get_job(request=api.GetJobRequest(job_id=job.job_id)).job_response
    assert (done.status, done.rows_synced, done.bytes_synced) == (models.JobStatusEnum.SUCCEEDED, 3, 30)
    assert server.token_mints <= 1


def test_lists_of_jobs(server, client):
    first, second = (created(client, server.add_connection(name)) for name in ("a", "b"))
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    request = api.ListJobsRequest(
        updated_at_start=hour_ago,
        order_by="updatedAt|ASC",
        limit=2,
        status=models.JobStatusEnum.RUNNING,
        workspace_ids=[server.catalogue.workspace_id],
    )
    page = client.jobs.list_jobs(request=request).jobs_response
    assert [job.job_id for job in page.data] == [first.job_id, second.job_id]
    assert page.next


def test_cancelling(server, client):
    job = created(client, server.add_connection("shop"), models.JobTypeEnum.CLEAR)
    request = api.CancelJobRequest(job_id=job.job_id)
    assert client.jobs.cancel_job(request=request).job_response.status is models.JobStatusEnum.CANCELLED
    with pytest.raises(SDKError) as error:
        client.jobs.cancel_job(request=request)
    assert error.value.status_code == 409


def test_a_second_start(server, client):
    connection = server.add_connection("shop")
    created(client, connection)
    with pytest.raises(SDKError, match="try-again-later") as error:
        created(client, connection)
    assert error.value.status_code == 409


def test_connections(server, client):
    connection = server.add_connection("shop", [STREAM])
    got = client.connections.get_connection(request=api.GetConnectionRequest(connection_id=connection))
    assert got.connection_response.configurations.streams[0].primary_key == [["id"]]
    listed = client.connections.list_connections(request=api.ListConnectionsRequest(limit=100))
    assert [one.connection_id for one in listed.connections_response.data] == [connection]
    patch = models.ConnectionPatchRequest(status=models.ConnectionStatusEnum.INACTIVE)
    changed = client.connections.patch_connection(
        request=api.PatchConnectionRequest(connection_id=connection, connection_patch_request=patch)
    )
    assert changed.connection_response.status is models.ConnectionStatusEnum.INACTIVE


def test_everything_else(server, client):
    connection = server.connection(server.add_connection("shop", [STREAM]))
    asked = api.GetStreamPropertiesRequest(source_id=connection.source_id, ignore_cache=True)
    (stream,) = client.streams.get_stream_properties(request=asked).stream_properties_response
    assert (stream.stream_name, stream.streamnamespace, stream.property_fields) == ("users", "app", [["id"]])
    assert client.health.get_health_check().status_code == 200
    workspace = api.GetWorkspaceRequest(workspace_id=connection.workspace_id)
    assert client.workspaces.get_workspace(request=workspace).workspace_response.name == "Default Workspace"
    source = client.sources.get_source(request=api.GetSourceRequest(source_id=connection.source_id))
    assert source.source_response.source_type == "postgres"
    destinations = client.destinations.list_destinations(request=api.ListDestinationsRequest())
    assert destinations.destinations_response.data[0].destination_id == connection.destination_id


def test_making_changing_and_deleting_everything(server, client):
    server.databases["shop.example/shop"] = [STREAM]
    asked = models.WorkspaceCreateRequest(name="team")
    workspace = client.workspaces.create_workspace(request=asked).workspace_response.workspace_id
    shop = models.SourcePostgres(
        host="shop.example", port=5432, database="shop", username="elt", password="a secret", schemas=["app"]
    )
    source = client.sources.create_source(
        request=models.SourceCreateRequest(name="shop", workspace_id=workspace, configuration=shop)
    ).source_response
    assert (source.source_type, source.configuration.password) == ("postgres", "**********")
    warehouse = models.DestinationBigquery(project_id="p", dataset_id="raw", dataset_location="EU")
    destination = client.destinations.create_destination(
        request=models.DestinationCreateRequest(name="bq", workspace_id=workspace, configuration=warehouse)
    ).destination_response
    connection = client.connections.create_connection(
        request=models.ConnectionCreateRequest(
            source_id=source.source_id,
            destination_id=destination.destination_id,
            status=models.ConnectionStatusEnum.INACTIVE,
            schedule=models.AirbyteAPIConnectionSchedule(
                schedule_type=models.ScheduleTypeEnum.CRON, cron_expression="0 0 6 * * ?"
            ),
            configurations=models.StreamConfigurations(
                streams=[
                    models.StreamConfiguration(name="users", sync_mode=models.ConnectionSyncModeEnum.INCREMENTAL_APPEND)
                ]
            ),
        )
    ).connection_response
    assert (connection.name, connection.schedule.cron_expression) == ("shop → bq", "0 0 6 * * ? UTC")
    (stream,) = connection.configurations.streams
    assert (stream.namespace, stream.cursor_field, stream.primary_key) == ("app", ["id"], [["id"]])
    renamed = models.SourcePatchRequest(name="the shop")
    asked = api.PatchSourceRequest(source_id=source.source_id, source_patch_request=renamed)
    assert client.sources.patch_source(request=asked).source_response.name == "the shop"
    assert server.stored_configuration(source.source_id)["password"] == "a secret"
    gone = api.DeleteConnectionRequest(connection_id=connection.connection_id)
    assert client.connections.delete_connection(request=gone).status_code == 204
    gone = api.DeleteDestinationRequest(destination_id=destination.destination_id)
    assert client.destinations.delete_destination(request=gone).status_code == 204
    assert [call for call, _ in server.changes] == [
        "POST /workspaces", "POST /sources", "POST /destinations", "POST /connections", "PATCH /sources",
        "DELETE /connections", "DELETE /destinations",
    ]  # fmt: skip


def test_definitions(server, client):
    asked = api.ListSourceDefinitionsRequest(workspace_id=server.catalogue.workspace_id)
    found = client.source_definitions.list_source_definitions(request=asked).definitions_response.data
    known = {one.docker_repository: one.id for one in found}
    assert known["airbyte/source-postgres"] == "decd338e-5647-4c0b-adf4-da0e75f5a750"
