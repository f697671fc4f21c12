"""A source table that changes, a stage, a destination, and syncs between them."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.connectors.files.source import FilesSource
from airflow_elt_provider.connectors.postgres.settings import PostgresSettings
from airflow_elt_provider.connectors.postgres.source import PostgresSource
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.stages.local import LocalStage
from tests.contract.faults import Fuse, FusedStage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_elt_provider.core.protocols import Stage
    from airflow_elt_provider.engine.merge import SyncResult
    from servers.postgres import PostgresServer
    from tests.contract.at_work import DestinationAtWork

CREATE = """
CREATE TABLE item (
    id bigint PRIMARY KEY, name text, amount numeric(12,2), tags text[],
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO item
SELECT g, 'name ' || g, g / 3.0, ARRAY['a,b', NULL, '"q"'], now() - interval '1 day' + g * interval '1 second'
FROM generate_series(1, 9) g
"""
CHANGE = """
UPDATE item SET name = 'changed ' || id, updated_at = now() - interval '30 minutes' WHERE id IN (2, 3);
INSERT INTO item SELECT g, 'new ' || g, NULL, NULL, now() - interval '20 minutes' FROM generate_series(10, 13) g
"""
MERGE: dict[str, Any] = {"capture": "cursor", "cursor_column": "updated_at", "mode": "merge"}
APPEND: dict[str, Any] = {"capture": {"cursor": {"column": "updated_at", "lag": 0}}, "mode": "append"}
REPLACE: dict[str, Any] = {"capture": "full", "mode": "replace"}
MIRROR: dict[str, Any] = {"capture": "full", "mode": "merge", "deletes": "hard"}


@dataclass
class World:
    """Everything one test needs.

    :param target: as `target_table` has it.
    :param stride: see `DestinationCandidate`.
    :param histories: see `DestinationCandidate`.
    :param observe_source: whether the source's statements are moments for the fuse, too.
    :param lock_timeout: seconds for which the source waits for somebody else's locks.
    """

    server: PostgresServer
    dbname: str
    folder: Path
    destination: DestinationAtWork
    table: str = "public.item"
    target: str = "raw.item"
    fuse: Fuse = field(default_factory=Fuse)
    stride: int = 1
    histories: float = 1.0
    observe_source: bool = False
    lock_timeout: float = 60.0

    # --- the source ---

    def run_at_source(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run SQL on the source database and return its rows, if any."""
        connection = self.server.connect(self.dbname)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def source_rows(self, columns: str = "id, name, amount", where: str = "true") -> list[tuple[str | None, ...]]:
        """Return the source's rows as text, in order."""
        items = ", ".join(f"({column.strip()})::text" for column in columns.split(","))
        return sorted(self.run_at_source(f"SELECT {items} FROM {self.table} WHERE {where}"), key=str)

    # --- the journey ---

    def source(self) -> PostgresSource:
        """Return a source as a fresh process would make it."""
        return PostgresSource(
            PostgresSettings(
                host=self.server.host, port=self.server.port, dbname=self.dbname, user=self.server.user,
                password=_secret(self.server.password), lock_timeout=self.lock_timeout,
            ),
            observe=self.fuse.tick if self.observe_source else None,
        )  # fmt: skip

    def files(self) -> FilesSource:
        """Return a source of files."""
        return FilesSource(FilesSettings("files", "file", LocalStage))

    def stage(self) -> Stage:
        """Return the stage, with the fuse in it."""
        return FusedStage(self.destination.stage(self.folder), self.fuse)

    def job(self, *, run_id: str = "", generation: int = 0, task_id: str = "sync", **parameters: Any) -> Sync:
        """Return one run's sync, as a fresh process would make it."""
        into = {name: parameters.pop(name) for name in _OF_MERGE & set(parameters)}
        keys = parameters.pop("keys", {})
        if "max_quarantined_rows" in into:
            parameters["max_quarantined_rows"] = into["max_quarantined_rows"]
        stream = parameters.pop("stream", f"{self.table}->{self.target}")
        if not {"query", "path"} & set(parameters):
            parameters.setdefault("source_table", self.table)
        mode = {name: parameters[name] for name in ("mode", "deletes") if name in parameters}
        return Sync(
            extraction(stream=stream, **parameters), merging(target_table=self.target, **mode, **into),
            RunIdentity("contract", run_id or uuid.uuid4().hex, task_id, generation=generation),
            self.files() if "path" in parameters else self.source(), self.stage(),
            self.destination.open(self.fuse.tick), keys,
        )  # fmt: skip

    def sync(self, **parameters: Any) -> SyncResult:
        """Run one sync."""
        return self.job(**parameters).execute()

    def target_rows(self, columns: str = "id, name, amount", where: str = "true") -> list[tuple[str | None, ...]]:
        """Return the target's rows as text, in order."""
        items = ", ".join(self.destination.text(column.strip()) for column in columns.split(","))
        return sorted(self.destination.query(f"SELECT {items} FROM {self.name} WHERE {where}"), key=str)

    @property
    def name(self) -> str:
        """The target's name in its system's SQL."""
        return self.destination.name(self.target)

    def damage_files(self) -> None:
        """Cut the staged files short."""
        stage = self.destination.stage(self.folder)
        for stored in [file for file in stage.list() if "/part-" in file.uri]:
            data = stage.read(stored.uri)[:-10]
            stage.delete([stored.uri])
            assert stage.put_if_absent(stored.uri.removeprefix(f"{stage.root}/"), data)

    @contextmanager
    def blowing_at(self, moment: int) -> Iterator[None]:
        """Cut the power at the nth moment within the block."""
        self.fuse.moments.clear()
        self.fuse.blow_at = moment
        try:
            yield
        finally:
            self.fuse.blow_at = None


_OF_MERGE: dict[str, Any] = {
    "on_schema_drift", "checks", "max_delete_ratio", "min_deletes_for_ratio", "allow_empty", "table_options",
    "max_quarantined_rows",
}  # fmt: skip


def _secret(value: str) -> Any:
    from airflow_elt_provider.core.secret import Secret

    return Secret(value)
