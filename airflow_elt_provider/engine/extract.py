"""The first step: what changed at the source becomes files and a manifest on the stage."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.evolve import refuse_unusable
from airflow_elt_provider.core.load import RunIdentity, new_nonce
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.masking import Masks
from airflow_elt_provider.core.plan import Extraction, Interval
from airflow_elt_provider.core.protocols import ChangeSet, Outcome, Source, Stage
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.staged_file import StagedFile
from airflow_elt_provider.engine import partitions, state_files
from airflow_elt_provider.engine.in_place import InPlaceLoad
from airflow_elt_provider.engine.parts import Parts, write_changes
from airflow_elt_provider.engine.portions import PortionedLoad
from airflow_elt_provider.engine.progress import Progress
from airflow_elt_provider.engine.quarantine import SetAside
from airflow_elt_provider.engine.start import Start, StreamState, starting_point
from airflow_elt_provider.errors import QuarantineExceededError

log = logging.getLogger(__name__)
_SLUG: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SLUG_LENGTH: Final = 80


def stream_folder(stream: str) -> str:
    """Return the name of a stream's folder on the stage: readable, safe everywhere, and different for each stream."""
    readable = _SLUG.sub("_", stream)[:_SLUG_LENGTH].strip("._") or "stream"
    return f"{readable}-{hashlib.sha256(stream.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Extract:
    """One extract: what, for which run, from where to where.

    :param keys: connection id -> the key that ``hash_columns`` finds there. They are no part of the extraction, which
        may be logged.
    :param in_place: takes note of a load whose files stay where they lie; None where all are to be staged.
    """

    extraction: Extraction
    run: RunIdentity
    source: Source
    stage: Stage
    state: StreamState | None
    keys: Mapping[str, Secret] = field(default_factory=dict)
    in_place: InPlaceLoad | None = None

    @cached_property
    def masks(self) -> Masks:
        """What takes the place of values. :raises ConfigurationError: for a key that is missing."""
        return Masks.of(self.extraction, self.keys)

    @property
    def load_id(self) -> str:
        """The load's id."""
        return self.run.load_id(self.extraction.stream)

    @property
    def folder(self) -> str:
        """The load's folder on the stage."""
        return f"{stream_folder(self.extraction.stream)}/{self.load_id}"

    @property
    def plan(self) -> str:
        """Hash of the parameters: a manifest made with others is not reused."""
        return hashlib.sha256(repr((self.extraction, self.masks.identity)).encode()).hexdigest()[:16]

    def execute(self) -> ManifestRef:
        """Read the source and publish a manifest, or return the one that a former attempt of this load published.

        :raises ConfigurationError: when the source, the stage or the parameters do not fit, before anything moved.
        """
        started = Progress(f"{self.extraction.stream}: extract")
        began = datetime.now(UTC).isoformat(timespec="milliseconds")
        start = starting_point(self.extraction, self.run, self.state)
        partitions.refuse_overtaken(self.extraction, start)
        for conn_id in self.masks.weak:
            log.warning("%s: extract: the password of connection %r is a short key: who knows a value and its hash may "
                        "guess it", self.extraction.stream, conn_id)  # fmt: skip
        number, former = (0, None) if self.in_place else self._former(start)
        if former:
            return former
        memory = state_files.recall(self.stage, self.extraction.stream, start.remembered)
        asked = self.masks.asked_of_source(self.extraction)
        since = replace(start.since, masks={}) if start.since else None  # masks are no business of the source's
        with self.source.changes(asked, since, start.until, memory) as given:
            if self.in_place and not given.in_place:
                number, former = self._former(start)
                if former:
                    return former
            for note in given.notes:
                log.info("%s: extract: %s", self.extraction.stream, note)
            self._refuse_unfit(given)
            progress = Progress(f"{self.extraction.stream}: extract")
            manifest = self._staged(given, start, progress)
        ref = self._publish(replace(manifest, created_at=began), number, start)
        state_files.forget_old(self.stage, stream_folder(self.extraction.stream), start.since)
        seconds = round(started.seconds, 3)
        log.info("%s: extract: %s in %.2f s -> %s", self.extraction.stream, progress, seconds, ref.uri)
        return replace(ref, seconds=seconds)

    def _former(self, start: Start) -> tuple[int, ManifestRef | None]:
        """Return the number that the next manifest gets, and the manifest of a former attempt that will do."""
        number, newest = self._newest_manifest()
        if newest is None or not self._usable(newest[0], start):
            return number, None
        log.info("%s: extract: using %s of a former attempt", self.extraction.stream, newest[1].uri)
        return number, newest[1]

    def _refuse_unfit(self, given: ChangeSet) -> None:
        refuse_unusable(given.schema, self.extraction.mode, self.extraction.source)
        partitions.refuse_undivided(self.extraction, given)
        self.masks.refuse_key(given.schema, self.extraction)
        if self.state and self.state.checkpoint and not self.extraction.full_refresh:
            self.masks.refuse_change(self.state.checkpoint.position, given.position, given.renamed)

    def _staged(self, given: ChangeSet, start: Start, progress: Progress) -> Manifest:
        """Write everything, and return what the manifest is to say of it."""
        nonce = new_nonce()
        changes, files, quarantine = self._written(given, nonce, progress, start)
        position = self._position(changes, start, nonce)
        return replace(self._manifest(changes, start, files, position), quarantine=quarantine)

    def _written(
        self, given: ChangeSet, nonce: str, progress: Progress, start: Start
    ) -> tuple[ChangeSet, tuple[StagedFile, ...], tuple[StagedFile, ...]]:
        """Write everything, and return the changes as they were written, their files, and those of rows set aside."""
        folder = f"{self.folder}/{nonce}"
        if self.in_place and given.in_place:
            self.in_place.lend = given.lend
            return given, tuple(given.in_place), ()
        if given.portions:
            base = repr((self.plan, start.base_version, start.since, start.replaces))
            load = PortionedLoad(self.stage, self.folder, base, self.extraction.stream)
            parts = Parts(self.stage, folder, progress, self.source.cancel)
            return (*load.write(given, given.portions, parts, self.masks), ())
        with ExitStack() as stack:
            aside = SetAside(self.stage, folder, self.extraction, self.masks, given, stack)
            changes = aside.changes
            try:
                files = write_changes(self.stage, folder, changes, progress, self.source.cancel)
            except QuarantineExceededError as error:
                raise aside.exceeded(error) from error
            complete, buckets = aside.settled()
            return replace(changes, complete=complete, buckets=buckets), files, aside.finish()

    # --- manifests ---

    def _position(self, changes: ChangeSet, start: Start, nonce: str) -> Position:
        if start.until is not None:  # overtaken
            return start.until
        outcome = changes.outcome() if changes.outcome else Outcome(changes.position)
        outcome = replace(outcome, position=replace(outcome.position, masks=self.masks.identity))
        return state_files.keep(self.stage, stream_folder(self.extraction.stream), f"{self.load_id}-{nonce}", outcome)

    def _manifest(
        self, changes: ChangeSet, start: Start, files: tuple[StagedFile, ...], position: Position
    ) -> Manifest:
        extraction = self.extraction
        return Manifest(
            load_id=self.load_id, run_key=self.run.run_key(extraction.stream), stream=extraction.stream,
            source=extraction.source, mode=extraction.mode, deletes=extraction.deletes, schema=changes.schema,
            files=files, base_version=start.base_version,
            next_position=position, base_position=start.since, complete=changes.complete,
            interval=Interval(*changes.interval) if changes.interval else None, replaces=start.replaces,
            backfill=changes.backfill, renamed=changes.renamed, former_key=self._former_key(), cursor=changes.cursor,
            full_refresh=extraction.full_refresh, plan=self.plan,
            buckets=changes.buckets, unchanged=tuple(changes.unchanged), source_rows=changes.source_rows,
            as_of=changes.as_of, source_facts=changes.facts, partition=extraction.partition,
            consistent=not changes.portions,
        )  # fmt: skip

    def _former_key(self) -> tuple[str, ...]:
        checkpoint = self.state.checkpoint if self.state else None
        return checkpoint.position.key if checkpoint and checkpoint.position else ()

    def _newest_manifest(self) -> tuple[int, tuple[Manifest, ManifestRef] | None]:
        """Return the number that the next manifest gets, and the newest manifest."""
        number, newest = 0, None
        while found := self._read(number):
            number, newest = number + 1, found
        return number, newest

    def _path(self, number: int) -> str:
        return f"{self.folder}/manifest-{number}.json"

    def _read(self, number: int) -> tuple[Manifest, ManifestRef] | None:
        uri = f"{self.stage.root.rstrip('/')}/{self._path(number)}"
        try:
            data = self.stage.read(uri)
        except FileNotFoundError:
            return None
        manifest = Manifest.from_bytes(data, ManifestRef(uri))
        return manifest, reference_of(uri, data, manifest)

    def _usable(self, manifest: Manifest, start: Start) -> bool:
        current = (manifest.base_version, manifest.base_position, manifest.replaces)
        return (
            manifest.plan == self.plan
            and current == (start.base_version, start.since, start.replaces)
            and self._complete(manifest)
        )

    def _complete(self, manifest: Manifest) -> bool:
        """Whether all files are there in full."""
        if manifest.external:  # to list a customer's files again costs as much as to see whether they changed
            return False
        files = manifest.ours
        sizes = {file.uri: file.bytes for file in self.stage.list(self.folder)} if files else {}
        return all(sizes.get(file.uri) == file.bytes for file in files)

    def _publish(self, manifest: Manifest, number: int, start: Start) -> ManifestRef:
        data = manifest.to_bytes()
        while not self.stage.put_if_absent(self._path(number), data):
            theirs = self._read(number)
            if theirs and self._usable(theirs[0], start):
                log.warning("%s: extract: a twin of this task was first; using %s", manifest.stream, theirs[1].uri)
                used = {file.uri for file in theirs[0].files}  # portions may belong to both
                mine = (file.uri for file in manifest.ours)
                self.stage.delete([uri for uri in mine if uri not in used])
                return theirs[1]
            number += 1
        if self.in_place and manifest.external:
            self.in_place.manifest = manifest
        return reference_of(f"{self.stage.root.rstrip('/')}/{self._path(number)}", data, manifest)


def reference_of(uri: str, data: bytes, manifest: Manifest) -> ManifestRef:
    """Return the reference of a manifest that lies on the stage as these bytes."""
    return ManifestRef(uri, hashlib.sha256(data).hexdigest(), manifest.load_id, manifest.changes, manifest.size)
