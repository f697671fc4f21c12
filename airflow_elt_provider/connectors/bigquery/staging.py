"""Staging tables: made, filled by load jobs, and gone by themselves when nobody merges them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.cloud import bigquery

from airflow_elt_provider.connectors.bigquery import types
from airflow_elt_provider.connectors.bigquery.dialect import BigQueryDialect
from airflow_elt_provider.connectors.bigquery.failures import MissingError, translate
from airflow_elt_provider.connectors.bigquery.jobs import BigQueryJobs
from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.schema import EXTRA_COLUMNS, Column
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.core.staging_tables import DEAD_AFTER
from airflow_elt_provider.errors import DataError, TransientError

log = logging.getLogger(__name__)

PREFIX: Final = "staging_"
_ROWS: Final = "elt_rows"
"""Label that a staging table has once it is complete."""
_LOAD: Final = "elt_load"
_MAX_BYTES: Final = 15 * 10**12
"""Of one load job."""
_ATTEMPTS: Final = 5
_PAUSES: Final = (1.0, 4.0, 15.0, 30.0)


def nonce_of(name: str) -> str:
    """Return the nonce of the attempt that filled a staging table; of a load without rows, which has none, ``none``."""
    return name.rpartition("_")[2] if name else "none"


@dataclass(frozen=True)
class Staging:
    """Staging tables in our own dataset."""

    jobs: BigQueryJobs
    dialect: BigQueryDialect

    def fill(self, load: Load) -> str:
        """Make a staging table of the load's files and return its name.

        :raises FileNotFoundError: when a file is gone.
        :raises DataError: when the files have not as many rows as the manifest says.
        """
        name = f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}_{load.load_id}_{load.nonce}"
        table = self._create(load, name)
        rows = sum(self._load(load, table, number, part) for number, part in enumerate(self._parts(load)))
        if rows != load.manifest.rows:
            raise DataError(
                f"The files of {load.manifest_ref.uri} have {rows:,} rows, the manifest lists {load.manifest.rows:,}.",
                hint="clear the load from its extract task on",
            )
        complete = bigquery.Table(table.reference)  # without an etag: the load jobs changed it
        complete.labels = {**table.labels, _ROWS: str(rows)}
        with self.jobs.observed(f"complete {name}"), translate(f"Labelling {name}"):
            self.jobs.client.update_table(complete, ["labels"])
        return name

    def _create(self, load: Load, name: str) -> bigquery.Table:
        table = bigquery.Table(
            ".".join(self.dialect.state_ref(name).parts),
            schema=_schema(load, tuple(column.name for column in load.manifest.extra_columns)),
        )
        table.expires = datetime.now(UTC) + DEAD_AFTER
        table.labels = {_LOAD: load.load_id}
        with self.jobs.observed(f"create table {name}"), translate(f"Making staging table {name}"):
            return self.jobs.client.create_table(table, exists_ok=True)  # its name is this attempt's own

    # --- load jobs ---

    def _parts(self, load: Load) -> Iterator[list[StagedFile]]:
        """Cut the files into load jobs; those of one job have the same columns."""
        for extra in sorted({file.extra for file in load.manifest.files}):
            part: list[StagedFile] = []
            size = 0
            for file in (file for file in load.manifest.files if file.extra == extra):
                if part and (len(part) == self.jobs.settings.max_uris or size + file.bytes > _MAX_BYTES):
                    yield part
                    part, size = [], 0
                part.append(file)
                size += file.bytes
            if part:
                yield part

    def _load(self, load: Load, table: bigquery.Table, number: int, files: Sequence[StagedFile]) -> int:
        """Load one part and return its rows: an id that a failed job has spent is followed by the next."""
        what = f"Loading {len(files)} files of load {load.load_id}"
        uris = [file.uri for file in files]
        spent = 0
        for attempt in range(_ATTEMPTS):
            job_id = f"elt_load_{load.load_id}_{load.nonce}_{number}_{spent}"
            job = None
            try:
                with self.jobs.observed(f"load job {job_id}"):
                    job = self.jobs.load(what, job_id, uris, table, _job_config(load, files[0].extra))
                    self.jobs.finish(what, job)
                return int(job.output_rows or 0)
            except TransientError as error:
                if attempt == _ATTEMPTS - 1 or self.jobs.stopped.is_set():
                    raise
                # Only a job that is known to have failed may be followed by another: the rows would come twice.
                spent += bool(job and job.state == "DONE" and job.error_result)
                log.info("%s: %s; trying again", load.manifest.stream, error.message)
                self.jobs.stopped.wait(_PAUSES[attempt])
        raise AssertionError

    # --- finding and dropping ---

    def complete(self, load_id: str) -> str | None:
        """Return the newest complete staging table of a load."""
        found = [item.table_id for item in self._list() if item.labels.get(_LOAD) == load_id and _ROWS in item.labels]
        return max(found, default=None)

    def older(self, age: timedelta) -> list[str]:
        """Return the staging tables of all loads that are older than ``age``."""
        limit = datetime.now(UTC) - age
        return [item.table_id for item in self._list() if item.created and item.created < limit]

    def _list(self) -> list[bigquery.table.TableListItem]:
        dataset = ".".join(self.dialect.state_ref("").parts[:-1])
        try:
            with translate(f"Listing the staging tables in {dataset}"):
                found = list(self.jobs.client.list_tables(dataset))
        except MissingError:
            return []
        return [item for item in found if item.table_id.startswith(PREFIX)]

    def drop(self, names: Sequence[str]) -> None:
        """Drop staging tables; those that are gone already do not matter."""
        for name in names:
            with self.jobs.observed(f"drop table {name}"), translate(f"Dropping staging table {name}"):
                self.jobs.client.delete_table(".".join(self.dialect.state_ref(name).parts), not_found_ok=True)


def _schema(load: Load, extra: tuple[str, ...]) -> list[bigquery.SchemaField]:
    besides = [column for column in EXTRA_COLUMNS if column.name in extra]
    return [_field(column) for column in (*load.manifest.schema.columns, *besides)]


def _field(column: Column) -> bigquery.SchemaField:
    type_ = types.wire_type(column.type)
    name, _, rest = type_.partition("(")
    if not rest:
        return bigquery.SchemaField(column.name, name)
    precision, scale = rest.rstrip(")").split(",")
    return bigquery.SchemaField(column.name, name, precision=int(precision), scale=int(scale))


def _job_config(load: Load, extra: tuple[str, ...]) -> bigquery.LoadJobConfig:
    # Names as they are, not with "_" for what is no letter; older clients have no property for it.
    made: Any = bigquery.LoadJobConfig.from_api_repr({"load": {"columnNameCharacterMap": "V2"}})
    config: bigquery.LoadJobConfig = made
    config.source_format = bigquery.SourceFormat.PARQUET
    config.schema = _schema(load, extra)
    # Parquet's decimals become NUMERIC alone unless told otherwise; with both, BigQuery takes the first that fits.
    config.decimal_target_types = ["NUMERIC", "BIGNUMERIC"]
    config.create_disposition = bigquery.CreateDisposition.CREATE_NEVER
    config.write_disposition = bigquery.WriteDisposition.WRITE_APPEND
    config.labels = {_LOAD: load.load_id}
    return config
