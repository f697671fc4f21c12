"""Stages as the contract suite sees them."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_elt_provider.stages import no_replace
from airflow_elt_provider.stages.gcs import GcsStage
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from airflow_elt_provider.stages.local import LocalStage
from airflow_elt_provider.stages.s3 import S3Stage
from airflow_elt_provider.stages.s3_settings import S3StageSettings
from servers.gcs import GcsServer, client_of
from servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Stage

SMALL_PARTS = 5 << 20
"""The smallest parts of an upload that S3 takes, so that tests see several."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class StageAtWork:
    """A stage that answers.

    :param recipe: `open_stage` makes the same stage of it in another process.
    """

    stage: Stage
    recipe: tuple[str, ...]


@dataclass(frozen=True)
class StageCandidate:
    """A row of `STAGES`.

    :param open: given an empty folder, starts what the stage needs.
    :param exceptions: name of a contract test -> why this stage cannot pass it.
    """

    name: str
    open: Callable[[Path], AbstractContextManager[StageAtWork]]
    exceptions: Mapping[str, str] = field(default_factory=dict)


def open_stage(kind: str, *where: str) -> Stage:
    """Open a stage by its recipe."""
    if kind == "s3":
        endpoint, bucket, prefix = where
        server = S3Server()
        settings = S3StageSettings(part_bytes=SMALL_PARTS)
        return S3Stage(lambda: server.client(endpoint_url=endpoint), bucket, prefix, settings)
    if kind == "gcs":
        url, bucket, prefix = where
        return GcsStage(lambda: client_of(url), bucket, prefix, GcsStageSettings(chunk_bytes=CHUNK))
    return LocalStage(where[0], publish=getattr(no_replace, kind))


@contextmanager
def local(way: str, folder: Path) -> Iterator[StageAtWork]:
    """Lend a folder in which files get their names in a `way` of `no_replace`."""
    recipe = (way, str(folder / "the stage ステージ"))
    yield StageAtWork(open_stage(*recipe), recipe)


@contextmanager
def s3(prefix: str) -> Iterator[StageAtWork]:
    """Lend a prefix of a bucket."""
    with S3Server() as server:
        recipe = ("s3", server.endpoint_url, server.create_bucket("elt-contract"), prefix)
        yield StageAtWork(open_stage(*recipe), recipe)


@contextmanager
def gcs(prefix: str) -> Iterator[StageAtWork]:
    """Lend a prefix of a bucket of Cloud Storage."""
    with GcsServer() as server:
        recipe = ("gcs", server.url, server.create_bucket("elt-contract"), prefix)
        yield StageAtWork(open_stage(*recipe), recipe)
