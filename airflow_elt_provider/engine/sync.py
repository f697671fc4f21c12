"""The whole journey of one table in one go."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

from airflow_elt_provider.core.in_place import NotInPlaceError
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.plan import Extraction, Merging
from airflow_elt_provider.core.protocols import Destination, KeepsConnection, Source, Stage
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine import in_place
from airflow_elt_provider.engine.extract import Extract
from airflow_elt_provider.engine.merge import (
    SyncResult,
    merge_load,
    merge_manifest,
    refuse_options,
    refuse_unreadable,
    refuse_unsafe,
    stage_load,
)
from airflow_elt_provider.engine.start import StreamState
from airflow_elt_provider.errors import StaleLoadError

log = logging.getLogger(__name__)
ATTEMPTS: Final = 3
"""How often a load that others overtook is extracted anew before the task fails."""


def default_stream(source_conn_id: str, source: str, target: TableRef) -> str:
    """Return the name of a checkpoint that nobody named."""
    return f"{source_conn_id}.{source}->{target}"


@dataclass(frozen=True)
class Sync:
    """Extract, stage and merge of one table by one run.

    :param keys: as :class:`~airflow_elt_provider.engine.extract.Extract` takes them.
    """

    extraction: Extraction
    merging: Merging
    run: RunIdentity
    source: Source
    stage: Stage
    destination: Destination
    keys: Mapping[str, Secret] = field(default_factory=dict)

    def execute(self) -> SyncResult:
        """Bring the target up to date with the source.

        :raises StaleLoadError: when other loads of the same stream kept overtaking this one.
        """
        with self.destination.kept() if isinstance(self.destination, KeepsConnection) else nullcontext():
            return self._execute()

    def _execute(self) -> SyncResult:
        refuse_unreadable(self.stage, self.destination)
        refuse_options(self.merging, self.destination)
        refuse_unsafe(self.merging.target, self.extraction.mode, self.extraction.deletes, self.destination)
        load_id = self.run.load_id(self.extraction.stream)
        log.info("%s: load %s", self.extraction.stream, load_id)
        known = self.destination.receipt(load_id)
        if known:
            log.info("%s: merged by a former attempt of this run; nothing to do", self.extraction.stream)
            return SyncResult.of(known)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._directly() if in_place.may_be(*self._way) else self._once()
            except StaleLoadError as error:
                if attempt == ATTEMPTS:
                    raise
                log.warning("%s Extracting again.", error.message)
        raise AssertionError

    @property
    def _way(self) -> tuple[Extraction, Merging, Destination]:
        return self.extraction, self.merging, self.destination

    def _directly(self) -> SyncResult:
        """Load files from where they lie, where that can be, and stage them otherwise."""
        load = in_place.InPlaceLoad()
        try:
            return self._once(load)
        except NotInPlaceError as error:
            log.info("%s: reading the files row by row: %s", self.extraction.stream, error.message)
            return self._once()

    def _once(self, load: in_place.InPlaceLoad | None = None) -> SyncResult:
        state = StreamState.read(self.destination, self.extraction, self.run)
        extraction = replace(self.extraction, in_place=load is not None)
        ref = Extract(extraction, self.run, self.source, self.stage, state, self.keys, load).execute()
        if load and load.manifest:
            staged, manifest = load.stage(load.manifest, ref, self.merging, self.destination, self.stage)
            return merge_manifest(staged, manifest, self.merging, self.destination, self.stage)
        staged = stage_load(ref, self.merging.target, self.destination, self.stage)
        return merge_load(staged, self.merging, self.destination, self.stage)

    def cancel(self) -> None:
        """Stop what runs on either server; safe from another thread."""
        self.source.cancel()
        self.destination.cancel()
