"""A folder of files, a bucket of files, and what a sync makes of them in DuckDB and PostgreSQL."""

from __future__ import annotations

import gzip
import itertools
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.connectors.files.source import FilesSource
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.stages.local import LocalStage
from airflow_elt_provider.stages.s3 import S3Stage
from airflow_elt_provider.stages.uri import parse_stage_uri
from servers.postgres import PostgresServer
from servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_elt_provider.core.protocols import Destination, Source, Stage
    from airflow_elt_provider.engine.merge import SyncResult

_MERGING = {"allow_empty", "on_schema_drift", "checks", "table_options", "max_delete_ratio"}


@dataclass
class Files:
    """Files, and a sync of them.

    :param path: where `write` puts them, and below which `sync` looks for `*.csv`.
    """

    folder: Path
    source: Source
    destination: Destination
    path: str
    runs: Iterator[int] = field(default_factory=itertools.count)

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file; one that ends in .gz is compressed."""
        data = text.encode() if isinstance(text, str) else text
        file = Path(self.path) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return file

    def remove(self, name: str) -> None:
        """Delete a file."""
        (Path(self.path) / name).unlink()

    def sync(
        self, path: str = "", run_id: str = "", target: str = "orders", generation: int = 0, **parameters: Any
    ) -> SyncResult:
        """Run a sync; without a run id a new run each time. A generation more is what a clear makes."""
        path = path or f"{self.path}/*.csv"
        of_merging = {name: parameters.pop(name) for name in _MERGING & set(parameters)}
        keys = parameters.pop("keys", {})
        if "max_quarantined_rows" in parameters:
            of_merging["max_quarantined_rows"] = parameters["max_quarantined_rows"]
        what = extraction(stream=f"files->{target}", path=path, **parameters)
        into = merging(target_table=target, **of_merging)
        run = RunIdentity("tests", run_id or f"run {next(self.runs)}", "sync", generation=generation)
        return Sync(what, into, run, self.source, self.stage, self.destination, keys).execute()

    @property
    def stage(self) -> Stage:
        """Where the loads are staged."""
        return LocalStage(self.folder / "stage")

    def lake(self, sql: str) -> list[tuple[Any, ...]]:
        """Look into DuckDB."""
        with duckdb.connect(str(self.folder / "lake.duckdb")) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()


def lake(folder: Path) -> DuckdbDestination:
    return DuckdbDestination(DuckdbSettings(str(folder / "lake.duckdb")))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Lend an empty folder, read into an empty DuckDB."""
    source = FilesSource(FilesSettings("share", "file", LocalStage))
    return Files(tmp_path, source, lake(tmp_path), str(tmp_path / "original-data"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Run an S3."""
    with S3Server() as server:
        yield server


@dataclass
class Bucket(Files):
    """The same in a bucket; `path` is the URI of a folder in it."""

    server: S3Server = field(kw_only=True)

    def write(self, name: str, text: str | bytes) -> Path:
        """Put an object."""
        data = text.encode() if isinstance(text, str) else text
        body = gzip.compress(data) if name.endswith(".gz") else data
        place = parse_stage_uri(self.path)
        self.server.client().put_object(Bucket=place.bucket, Key=f"{place.path}/{name}", Body=body)
        return Path(name)

    def remove(self, name: str) -> None:
        """Delete an object."""
        place = parse_stage_uri(self.path)
        self.server.client().delete_object(Bucket=place.bucket, Key=f"{place.path}/{name}")


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path) -> Iterator[Bucket]:
    """Lend an empty folder of a bucket, read into an empty DuckDB."""

    def open_folder(uri: str) -> S3Stage:
        place = parse_stage_uri(uri)
        return S3Stage(s3_server.client, place.bucket, place.path)

    name = s3_server.create_bucket(f"elt-{uuid.uuid4().hex}")
    source = FilesSource(FilesSettings("aws_default", "s3", open_folder))
    yield Bucket(tmp_path, source, lake(tmp_path), f"s3://{name}/original data/注文", server=s3_server)
    s3_server.heal()


@dataclass
class GoogleBucket(Files):
    """The same in a bucket of Google's."""

    server: Any = field(kw_only=True)

    def _blob(self, name: str) -> Any:
        place = parse_stage_uri(self.path)
        return self.server.client().bucket(place.bucket).blob(f"{place.path}/{name}")

    def write(self, name: str, text: str | bytes) -> Path:
        """Put an object."""
        data = text.encode() if isinstance(text, str) else text
        self._blob(name).upload_from_string(gzip.compress(data) if name.endswith(".gz") else data)
        return Path(name)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self._blob(name).delete()


@pytest.fixture
def google(tmp_path: Path) -> Iterator[GoogleBucket]:
    """Lend an empty folder of a bucket of Google's, read into an empty DuckDB."""
    from airflow_elt_provider.stages.gcs import GcsStage
    from servers.gcs import GcsServer

    def open_folder(uri: str) -> GcsStage:
        place = parse_stage_uri(uri)
        return GcsStage(server.client, place.bucket, place.path)

    with GcsServer() as server:
        name = server.create_bucket(f"elt-{uuid.uuid4().hex}")
        source = FilesSource(FilesSettings("google", "gs", open_folder))
        yield GoogleBucket(tmp_path, source, lake(tmp_path), f"gs://{name}/original data/注文", server=server)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def warehouse(postgres_server: PostgresServer) -> Iterator[Any]:
    """Lend an empty PostgreSQL: a destination, and a function that runs SQL in it."""
    from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
    from airflow_elt_provider.connectors.postgres.settings import of_connection
    from airflow_elt_provider.core.connection import ConnectionParts

    with postgres_server.database() as name:
        parts = ConnectionParts.parse("warehouse", postgres_server.airflow_connection(name))

        def query(sql: str) -> list[tuple[Any, ...]]:
            with closing(postgres_server.connect(name)) as connection, connection.cursor() as cursor:
                cursor.execute(sql)
                rows: list[tuple[Any, ...]] = cursor.fetchall()
                return rows

        yield PostgresDestination(of_connection(parts)), query
