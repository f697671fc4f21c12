"""One S3 and one Cloud Storage for these tests, and a bucket of its own for each that asks."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from servers.gcs import GcsServer
from servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Run an S3."""
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[str]:
    """Lend an empty bucket, and take all faults away afterwards."""
    yield s3_server.create_bucket(f"elt-{uuid.uuid4().hex}")
    s3_server.heal()


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    """Run a Cloud Storage."""
    with GcsServer() as server:
        yield server


@pytest.fixture
def gcs_bucket(gcs_server: GcsServer) -> Iterator[str]:
    """Lend an empty bucket of Cloud Storage, and take all faults away afterwards."""
    yield gcs_server.create_bucket(f"elt-{uuid.uuid4().hex}")
    gcs_server.heal()
