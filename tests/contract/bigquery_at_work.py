"""BigQuery at work: local-bigquery, which reads the buckets of gcp-storage-emulator from its folder.

It needs Python 3.12, so that its row is heavy: left to `make test-heavy`, and skipped with the reason where there
is none.  Every test has a project of its own.  What the emulator does not do as BigQuery does:

* Numbers and bytes as text look as DuckDB writes them: `1.50`, where BigQuery shows `1.5`.
* It partitions and clusters nothing of what it stores, has no quotas, bills nothing, and knows no permissions: those
  are tested on errors in Google's words (`tests/connectors/bigquery/test_bigquery_rules.py`).
* A transaction that lost against another fails when it commits, not when it first writes.
"""

from __future__ import annotations

import functools
import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_elt_provider.connectors.bigquery.destination import BigQueryDestination
from airflow_elt_provider.connectors.bigquery.names import quoted
from airflow_elt_provider.connectors.bigquery.settings import BigQuerySettings
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.stages.gcs import GcsStage
from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
from servers.bigquery import BigQueryServer, unavailable
from servers.gcs import GcsServer, client_of
from tests.contract.at_work import DestinationAtWork, DestinationCandidate, Servers, Shown, made_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Destination, Stage

BUCKET = "stage"
TYPES: dict[str, Shown] = {
    "c_smallint": Shown("INT64"),
    "c_integer": Shown("INT64"),
    "c_bigint": Shown("INT64"),
    "c_numeric_p_s": Shown("BIGNUMERIC(38,18)"),
    "c_numeric_nan": Shown("NUMERIC(10,2)", (None, "1.50")),
    "c_numeric_wide": Shown("STRING"),
    "c_numeric": Shown("STRING"),
    "c_real": Shown("FLOAT64", ("1.5", "nan")),
    "c_double": Shown("FLOAT64", ("0.1", "-inf")),
    "c_boolean": Shown("BOOL"),
    "c_text": Shown("STRING"),
    "c_char": Shown("STRING", ("ab  ", "abcd")),
    "c_bytea": Shown("BYTES", ("\\x00\\xFF\\x0A\\x22", "")),
    "c_date": Shown("DATE", ("2024-02-29", None)),
    "c_date_bc": Shown("DATE", (None, None)),
    "c_timestamp": Shown("DATETIME", ("2024-01-01 00:00:00.000001", None)),
    "c_timestamptz": Shown("TIMESTAMP", ("2024-06-01 03:00:00.123456+00", None)),
    "c_timestamptz_far": Shown("TIMESTAMP", (None, None)),
    "c_time": Shown("TIME", ("01:02:03.000004", None)),
    "c_interval": Shown("STRING"),
    "c_uuid": Shown("STRING"),
    "c_json": Shown("JSON", ('{"a":1}', "null")),
    "c_jsonb": Shown("JSON", (None, '"ü"')),
    "c_int_array": Shown("JSON", ("[[1,2],[3,null]]", "[]")),
    "c_text_array": Shown("JSON", ('["a,b","c\\"d","\\\\",null,"NULL",""]', '["{x}","ü\\n"]')),
    "c_bool_array": Shown("JSON", ("[true,false,null]", "[true]")),
    "c_bound_array": Shown("JSON", ("[7,8,9]", "[1]")),
    "c_domain": Shown("INT64"),
    "c_money": Shown("STRING", ("1234.56", "-0.01")),
    "c_inet": Shown("STRING", ("10.0.0.1/8", "::1")),
}
NULLED = {
    "c_numeric_nan": 1, "c_date": 1, "c_date_bc": 2, "c_timestamp": 1, "c_timestamptz": 1, "c_timestamptz_far": 2,
    "c_time": 1, "c_jsonb": 1,
}  # fmt: skip
EXCEPTIONS = {
    'test_names_arrive_as_they_are[[]bigquery-K*se "1"[]]': "BigQuery has no quotes in its names; refused",
    "test_names_arrive_as_they_are[[]bigquery-a.b[]]": "BigQuery has no dots in its names; refused",
    "test_names_arrive_as_they_are[[]bigquery-100%[]]": "BigQuery has per cent in columns, not in tables; refused",
}


class Google:
    """Cloud Storage and BigQuery, which reads it."""

    def __init__(self) -> None:
        """Describe the two."""
        self.storage = GcsServer()
        self.bigquery: BigQueryServer | None = None

    def __enter__(self) -> Self:
        """Start both."""
        self.storage.start()
        self.storage.create_bucket(BUCKET)
        self.bigquery = BigQueryServer(buckets=self.storage.folder)
        self.bigquery.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop both."""
        if self.bigquery:
            self.bigquery.close()
        self.storage.close()


@dataclass
class BigQueryAtWork:
    """A project.

    :param url: of the server; `storage` of Cloud Storage's.
    """

    url: str
    storage: str
    project: str
    kind: str = "bigquery"
    keeps_numeric: bool = False
    nulled: Mapping[str, int] = field(default_factory=lambda: NULLED)
    types: Mapping[str, Shown] = field(default_factory=lambda: TYPES)

    @classmethod
    def reopen(cls, url: str, storage: str, project: str) -> Self:
        return cls(url, storage, project)

    def recipe(self) -> dict[str, Any]:
        return made_by(self, url=self.url, storage=self.storage, project=self.project)

    def stage(self, folder: Path) -> Stage:
        client = functools.partial(client_of, self.storage)
        return GcsStage(client, BUCKET, f"{self.project}/{folder.name}", GcsStageSettings())

    def settings(self, **settings: Any) -> BigQuerySettings:
        return BigQuerySettings(project=self.project, **settings)

    def open(self, observe: Callable[[str], None]) -> Destination:
        os.environ["BIGQUERY_EMULATOR_HOST"] = self.url
        return BigQueryDestination(self.settings(), observe=observe)

    @functools.cached_property
    def client(self) -> bigquery.Client:
        os.environ["BIGQUERY_EMULATOR_HOST"] = self.url
        return bigquery.Client(self.project, AnonymousCredentials())  # type: ignore[no-untyped-call]

    def name(self, target: str) -> str:
        return ".".join(map(quoted, TableRef.parse(target).parts))

    def text(self, expression: str) -> str:
        return f"CAST({expression.replace(chr(34), '`')} AS STRING)"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.client.query_and_wait(sql)]

    def run(self, sql: str) -> None:
        self.client.query_and_wait(sql)

    def version_of(self, target: str) -> object:
        return self.query(f"SELECT COUNT(*), BIT_XOR(FARM_FINGERPRINT(TO_JSON_STRING(t))) FROM {self.name(target)} t")

    def columns(self, target: str) -> dict[str, str]:
        dataset, table = TableRef.parse(target).parts
        if not any(item.dataset_id == dataset for item in self.client.list_datasets()):
            return {}
        if not any(item.table_id == table for item in self.client.list_tables(dataset)):
            return {}
        found = self.client.get_table(f"{self.project}.{dataset}.{table}").schema
        return {column.name: _spelled(column) for column in found}

    def staging_tables(self) -> list[str]:
        return [item.table_id for item in self.client.list_tables("_elt") if item.table_id.startswith("staging_")]

    def wipe(self, target: str) -> None:
        self.client.delete_dataset("_elt", delete_contents=True, not_found_ok=True)
        self.client.delete_table(f"{self.project}.{target}", not_found_ok=True)


def _spelled(column: bigquery.SchemaField) -> str:
    digits = f"({column.precision},{column.scale or 0})" if column.precision else ""
    return {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}.get(
        column.field_type, f"{column.field_type}{digits}"
    )


@contextmanager
def bigquery_project(servers: Servers, folder: Path) -> Iterator[DestinationAtWork]:
    """Lend a project."""
    del folder
    google = servers.of(Google)
    assert google.bigquery
    yield BigQueryAtWork(google.bigquery.url, google.storage.url, f"elt-{uuid.uuid4().hex[:12]}")


CANDIDATES = {
    "bigquery": DestinationCandidate(
        bigquery_project, unavailable, heavy=True, stride=12, histories=0.1, share=2, exceptions=EXCEPTIONS
    ),
}
