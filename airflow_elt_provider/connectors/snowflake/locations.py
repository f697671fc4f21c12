"""Where Snowflake finds a load's files: a named stage, a bucket, or a stage inside Snowflake."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

from airflow_elt_provider.connectors.snowflake.dialect import SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.session import SnowflakeSession
from airflow_elt_provider.connectors.snowflake.settings import SnowflakeSettings
from airflow_elt_provider.core.protocols import Stage
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.formats.parquet import fetched

INTERNAL: Final = "FILES"
_KEYS: Final = {"aws_access_key_id": "AWS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_KEY",
                "aws_session_token": "AWS_TOKEN"}  # fmt: skip


class _WithKeys(Protocol):
    def credentials(self) -> Mapping[str, Secret]: ...


@dataclass(frozen=True)
class Location:
    """What COPY needs to find files.

    :param source: SQL after FROM.
    :param files: the files' names, relative to it.
    :param credentials: AWS's keys by Snowflake's names for them, where it is given any.
    """

    source: str
    files: tuple[str, ...]
    credentials: Mapping[str, Secret] = field(default_factory=dict)

    def clause(self, literal: Callable[[str], str]) -> str:
        """Return the clause that holds the keys; nobody may see it."""
        keys = " ".join(f"{name} = {literal(key.reveal())}" for name, key in self.credentials.items())
        return f" CREDENTIALS = ({keys})" if keys else ""


def location(
    session: SnowflakeSession, dialect: SnowflakeDialect, settings: SnowflakeSettings, stage: Stage,
    files: Sequence[StagedFile],
) -> Location:  # fmt: skip
    """Say how Snowflake reaches files in a bucket.

    :raises ConfigurationError: when it cannot.
    """
    uris = [file.uri for file in files]
    if settings.stage:
        return _named_stage(session, dialect, settings.stage, uris)
    root = f"{stage.root.rstrip('/')}/"
    source = dialect.literal(_cloud_url(root))
    relative = tuple(uri.removeprefix(root) for uri in uris)
    if settings.storage_integration:
        return Location(f"{source} STORAGE_INTEGRATION = {dialect.quote(settings.storage_integration)}", relative)
    if stage.scheme != "s3":
        raise ConfigurationError(
            f"Snowflake has no way to read {stage.root}: of a bucket of Google it takes no keys.",
            hint="name a stage (elt_stage) or a storage integration (elt_storage_integration) in the extra of the "
            "Snowflake connection, or send the files with elt_internal_stage",
        )
    given = cast("_WithKeys", stage).credentials()
    return Location(source, relative, {name: given[key] for key, name in _KEYS.items() if key in given})


def _named_stage(session: SnowflakeSession, dialect: SnowflakeDialect, name: str, uris: Sequence[str]) -> Location:
    stage = dialect.table(TableRef.parse(name))
    url = _url(session, stage)
    for uri in uris:
        if not url or not _cloud_url(uri).startswith(url):
            raise ConfigurationError(
                f"The files of this load are at {uri}, the stage {name} of Snowflake is over {url or 'no bucket'}.",
                hint="let elt_stage name a stage over the bucket, or the folder, that loads are staged in",
            )
    return Location(f"@{stage}", tuple(_cloud_url(uri).removeprefix(url) for uri in uris))


def _url(session: SnowflakeSession, stage: str) -> str:
    names, rows = session.table(f"DESCRIBE STAGE {stage}")
    for row in rows:
        found = dict(zip(names, row, strict=True))
        if found["property"] == "URL":
            urls = json.loads(found["property_value"] or "[]")
            return f"{str(urls[0]).rstrip('/')}/" if urls and urls[0] else ""
    return ""


def _cloud_url(uri: str) -> str:
    return f"gcs://{uri.removeprefix('gs://')}" if uri.startswith("gs://") else uri


# --- the internal stage ---


def internal_stage(dialect: SnowflakeDialect) -> str:
    """Return the name of our own stage inside Snowflake."""
    return dialect.state(INTERNAL)


def create_internal(dialect: SnowflakeDialect) -> str:
    """Return what makes it."""
    return f"CREATE STAGE IF NOT EXISTS {internal_stage(dialect)} FILE_FORMAT = (TYPE = PARQUET)"


def send(
    session: SnowflakeSession, dialect: SnowflakeDialect, stage: Stage, files: Sequence[StagedFile], folder: str
) -> Location:
    """Send files into a folder of the internal stage."""
    place = f"@{internal_stage(dialect)}/{folder}/"
    names = tuple(f"part-{number:05d}.parquet" for number in range(len(files)))
    with tempfile.TemporaryDirectory(prefix="elt-put-") as lane:
        for file, name in zip(files, names, strict=True):
            with fetched(stage, file) as path:
                link = Path(lane) / name  # PUT takes * and ? in a path for patterns
                link.symlink_to(path)
                session.query(f"PUT {dialect.literal(link.as_uri())} {place} AUTO_COMPRESS = FALSE OVERWRITE = FALSE")
    return Location(place, names)


def remove(dialect: SnowflakeDialect, folder: str) -> str:
    """Return what removes a folder of the internal stage."""
    return f"REMOVE @{internal_stage(dialect)}/{folder}/"
