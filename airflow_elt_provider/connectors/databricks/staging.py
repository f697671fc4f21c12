"""Staging tables: made, filled by COPY INTO, then entered in a register, so that a half-filled one is never used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, cast

from airflow_elt_provider.connectors.databricks import files
from airflow_elt_provider.connectors.databricks.names import literal, quoted
from airflow_elt_provider.connectors.databricks.session import DatabricksSession, MissingError
from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
from airflow_elt_provider.core.dialect import Sql
from airflow_elt_provider.core.load import Load, new_nonce
from airflow_elt_provider.core.protocols import Stage
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats.parquet import fetched

_STAMP: Final = "%Y%m%dt%H%M%S"
_KEYS: Final = {
    "aws_access_key_id": "AWS_ACCESS_KEY", "aws_secret_access_key": "AWS_SECRET_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}  # fmt: skip
_NAME: Final = re.compile(r"staging_(\d{8}t\d{6})_[0-9a-f]{32}_[0-9a-f]{8}")


class _WithKeys(Protocol):
    def credentials(self) -> Mapping[str, Secret]: ...


@dataclass(frozen=True)
class Staging:
    """Fills one attempt's staging table.

    :param ensure: makes our own tables, if they are not there.
    """

    session: DatabricksSession
    settings: DatabricksSettings
    load: Load
    stage: Stage
    ensure: Callable[[DatabricksSession, Load], None]

    def fill(self) -> str:
        """Make the table of the load's files and return its name.

        :raises DataError: when the files have not as many rows as the manifest says.
        """
        load, dialect = self.load, self.session.dialect
        name = f"staging_{datetime.now(UTC):{_STAMP}}_{load.load_id}_{load.nonce}"
        columns = ", ".join(f"{dialect.quote(column)} {type_}" for column, type_ in dialect.staging_columns(load))
        mapped = "TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"
        self._execute(f"CREATE TABLE IF NOT EXISTS {dialect.state(name)} ({columns}) USING DELTA {mapped}")
        uploaded = self._upload(f"{self.settings.volume}/{name}") if self.settings.volume else []
        rows, (credential, keys) = 0, self._credential()
        for batch in files.batches(uploaded or self._uris()):
            rows += self.session.copy_into(credential.join(self._copy(name, batch)), keys)
        self._verify(name, rows)
        values = f"{literal(name)}, {literal(load.load_id)}, {literal(load.manifest.stream)}, {rows}, {dialect.now}"
        self._execute(f"INSERT INTO {dialect.state('staging')} VALUES ({values})")
        for path in uploaded:
            self.session.remove(path)
        return name

    def _execute(self, sql: str) -> None:
        try:
            self.session.execute(sql)
        except MissingError:  # the very first load
            self.ensure(self.session, self.load)
            self.session.execute(sql)

    def _verify(self, name: str, rows: int) -> None:
        if rows != self.load.manifest.rows:  # a batch may have been sent twice, and the second answer says 0
            rows = int(self.session.query(f"SELECT count(*) FROM {self.session.dialect.state(name)}")[0][0])
        if rows != self.load.manifest.rows:
            raise DataError(
                f"The files of {self.load.manifest_ref.uri} have {rows:,} rows, the manifest lists "
                f"{self.load.manifest.rows:,}.",
                hint="clear the load from its extract task on",
            )

    def _copy(self, name: str, batch: files.Batch) -> tuple[str, str]:
        """Return what stands before and after the credential. A file that is loaded already is skipped."""
        mixed = len({file.extra for file in self.load.manifest.files}) > 1
        # Without the first of these, dates from before 1582 would be taken for Julian ones.
        options = "'datetimeRebaseMode' = 'CORRECTED'" + (", 'mergeSchema' = 'true'" if mixed else "")
        names = ", ".join(map(literal, batch.names))
        return (
            f"COPY INTO {self.session.dialect.state(name)} FROM {literal(batch.folder)}",
            f" FILEFORMAT = PARQUET FILES = ({names}) FORMAT_OPTIONS ({options}) COPY_OPTIONS ('force' = 'false')",
        )

    def _uris(self) -> list[str]:
        """Return the files that the warehouse can read, after making those that it could not."""
        listed, stage = self.load.manifest.files, self.stage
        if not all(files.readable(file.uri) for file in listed):
            raise ConfigurationError(
                f"Databricks cannot read the stage {stage.root}.",
                hint="use a stage that begins with s3://, gs:// or file:///Volumes/, or set elt_volume in the "
                "connection's extra: files are then uploaded to that volume",
            )
        if not files.has_times(self.load):
            return [file.uri for file in listed]
        # Beside the others and named like them, so that cleaning the stage takes them away, too.
        folder = listed[0].uri.removeprefix(stage.root.rstrip("/") + "/").rsplit("/", 2)[0]
        folder, uris = f"{folder}/{new_nonce()}", []
        for number, file in enumerate(listed):
            with files.plain_copy(stage, file) as copy:
                uris.append(stage.put(copy, f"{folder}/plain-{number}.parquet"))
        return uris

    def _upload(self, folder: str) -> list[str]:
        """Put the files on a volume, for a warehouse that cannot read the stage, and return their paths."""
        lend = files.plain_copy if files.has_times(self.load) else fetched
        paths = []
        for number, file in enumerate(self.load.manifest.files):
            with lend(self.stage, file) as local:
                paths.append(f"{folder}/part-{number}.parquet")
                self.session.upload(local, paths[-1])
        return paths

    def _credential(self) -> tuple[str, Mapping[str, Secret]]:
        """Return COPY INTO's WITH clause and the keys in it; "" where Unity Catalog knows how to read the stage."""
        settings = self.settings
        if settings.credential:
            return f" WITH (CREDENTIAL {quoted(settings.credential)})", {}
        if settings.volume or settings.credentials != "stage":
            return "", {}
        if self.stage.scheme != "s3":
            raise ConfigurationError(
                f"The stage {self.stage.root} has no keys to lend, and the connection says elt_credentials='stage'.",
                hint="use an s3:// stage, or an external location of Unity Catalog",
            )
        given = cast("_WithKeys", self.stage).credentials()
        keys = {_KEYS[name]: key for name, key in given.items()}
        return f" WITH (CREDENTIAL ({', '.join(f'{name} = {{{name}}}' for name in keys)}))", keys


def remove_dead_uploads(session: DatabricksSession, volume: str, age: timedelta) -> list[str]:
    """Remove what killed tasks left on a volume, and return the files."""
    before, removed = datetime.now(UTC) - age, []
    for path, name in session.files(volume):
        if _is_older(name.rstrip("/"), before):
            removed += [inner for inner, _ in session.files(path)]
    for path in removed:
        session.remove(path)
    return removed


def registered(session: DatabricksSession, load_id: str) -> list[str]:
    """Return the complete staging tables of a load, newest first."""
    table = session.dialect.state("staging")
    sql = f"SELECT DISTINCT staging_table FROM {table} WHERE load_id = ? ORDER BY staging_table DESC"
    return [name for (name,) in session.query(sql, (load_id,))]


def drop(session: DatabricksSession, names: Sequence[str]) -> None:
    """Drop staging tables."""
    for name in names:
        session.execute(Sql(f"DROP TABLE IF EXISTS {session.dialect.state(name)}"))
    if names:
        listed = ", ".join(map(literal, names))
        session.execute(Sql(f"DELETE FROM {session.dialect.state('staging')} WHERE staging_table IN ({listed})"))


def older(session: DatabricksSession, age: timedelta) -> list[str]:
    """Return the staging tables that are older, complete or not: the name says when one was made."""
    before = datetime.now(UTC) - age
    return [name for name in tables(session, "staging_*") if _is_older(name, before)]


def _is_older(name: str, before: datetime) -> bool:
    found = _NAME.fullmatch(name)
    return found is not None and datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC) < before


def tables(session: DatabricksSession, pattern: str) -> list[str]:
    """Return those of our tables that fit a pattern."""
    place = session.dialect.state("x").rpartition(".")[0]
    try:
        return [row[1] for row in session.query(f"SHOW TABLES IN {place} LIKE {literal(pattern)}")]
    except MissingError:
        return []
