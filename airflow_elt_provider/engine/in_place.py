"""Loads of a customer's own files, read where they lie: nothing but the manifest is written to the stage.

Stage needs a route to the files, so this is for a task that has all of a journey: nobody else is lent them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from airflow_elt_provider.core.in_place import LentFile
from airflow_elt_provider.core.load import Lend, Load, StagingRef
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.plan import Extraction, Merging
from airflow_elt_provider.core.protocols import Destination, Stage
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.engine.progress import Progress

log = logging.getLogger(__name__)


def may_be(extraction: Extraction, merging: Merging, destination: Destination) -> bool:
    """Whether files could go straight from their store into the destination; the source has the last word.

    Rows that may be set aside, and values that have to be masked, are read by us.
    """
    read_by_us = extraction.masked_columns or extraction.max_quarantined_rows or merging.guards.max_quarantined_rows
    return extraction.path is not None and not read_by_us and destination.capabilities.in_place


@dataclass
class InPlaceLoad:
    """One load, from the extract that finds it to the merge.

    :param manifest: as published; None where the files had to be staged after all.
    :param lend: opens the files.
    """

    manifest: Manifest | None = None
    lend: Lend | None = None
    _lent: dict[str, LentFile] = field(default_factory=dict)

    def stage(
        self, manifest: Manifest, ref: ManifestRef, merging: Merging, destination: Destination, stage: Stage
    ) -> tuple[StagingRef, Manifest]:
        """Bring the files into a staging table; return it, and the manifest with their rows.

        :raises NotInPlaceError: when they have to be read row by row.
        """
        started = Progress(f"{manifest.stream}: stage")
        load = Load(manifest, ref, Merging(target=merging.target), lend=self._counted)
        staging = destination.ingest(load, stage)
        told = replace(manifest, files=tuple(map(self._with_rows, manifest.files)))
        took = round(started.seconds, 3)
        log.info("%s: stage: %s rows of %d files, straight from where they lie, %s, %.2f s", manifest.stream,
                 f"{told.rows:,}", len(told.files), staging, took)  # fmt: skip
        return StagingRef(ref, str(merging.target), staging, {"extract": ref.seconds, "stage": took}), told

    @contextmanager
    def _counted(self, file: StagedFile) -> Iterator[LentFile]:
        if self.lend is None:
            raise TypeError(f"nobody lends {file.uri}")
        with self.lend(file) as lent:
            self._lent[file.uri] = lent
            yield lent

    def _with_rows(self, file: StagedFile) -> StagedFile:
        lent = self._lent.get(file.uri)
        return replace(file, rows=lent.rows) if lent else file
