"""A whole table that is staged portion by portion, so that a later attempt goes on where an earlier one broke off.

Each portion that is staged leaves a small record beside its files. Records are put if absent: of two attempts at once
the first to finish a portion wins it, and both go on behind it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any

from airflow_elt_provider.core.masking import Masks
from airflow_elt_provider.core.protocols import ChangeSet, Portions, Stage
from airflow_elt_provider.core.staged_file import Role, StagedFile
from airflow_elt_provider.engine.masking import masked
from airflow_elt_provider.engine.parts import Parts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PortionRecord:
    """A portion that is staged.

    :param done: see :class:`~airflow_elt_provider.core.protocols.Portion`.
    """

    files: tuple[StagedFile, ...]
    done: bytes

    def to_bytes(self) -> bytes:
        """Return the JSON text that :meth:`from_bytes` reads."""
        return json.dumps({**asdict(self), "done": base64.b64encode(self.done).decode()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PortionRecord:
        """Read what :meth:`to_bytes` wrote."""
        value: dict[str, Any] = json.loads(data)
        files = (
            StagedFile(**{**file, "role": Role(file["role"]), "extra": tuple(file["extra"])}) for file in value["files"]
        )
        return cls(tuple(files), base64.b64decode(value["done"]))


@dataclass(frozen=True)
class PortionedLoad:
    """The portions of one load.

    :param folder: of the load, on the stage.
    :param identity: of everything besides the source that decides what is read.
    """

    stage: Stage
    folder: str
    identity: str
    stream: str

    def write(
        self, changes: ChangeSet, portions: Portions, parts: Parts, masks: Masks
    ) -> tuple[ChangeSet, tuple[StagedFile, ...]]:
        """Stage the portions that no attempt has staged; return the changes with their outcome, and all files."""
        series, records = self._known(portions.plan)
        if records:
            log.info("%s: extract: going on behind %d portions of a former attempt", self.stream, len(records))
        while not portions.is_over([record.done for record in records]):
            with portions.open([record.done for record in records]) as portion:
                files = parts.write(masked(replace(changes, streams=portion.streams), masks).streams)
            records.append(self._put(f"{series}-{len(records)}", PortionRecord(files, portion.done)))
        outcome = portions.outcome([record.done for record in records])
        told = replace(masked(changes, masks), outcome=lambda: outcome, source_rows=outcome.source_rows)
        return told, tuple(file for record in records for file in record.files)

    def _known(self, plan: str) -> tuple[str, list[PortionRecord]]:
        """Return the name of the first series of records whose files are all there, and its records."""
        sizes = {file.uri: file.bytes for file in self.stage.list(self.folder)}
        for generation in count():
            named = repr((self.identity, plan, generation))
            series = hashlib.sha256(named.encode()).hexdigest()[:8]
            records = list(self._read_all(series))
            if all(sizes.get(file.uri) == file.bytes for record in records for file in record.files):
                return series, records
        raise AssertionError("generations have no end")

    def _read_all(self, series: str) -> Iterator[PortionRecord]:
        for number in count():
            record = self._read(f"{series}-{number}")
            if record is None:
                return
            yield record

    def _read(self, name: str) -> PortionRecord | None:
        try:
            return PortionRecord.from_bytes(self.stage.read(f"{self.stage.root.rstrip('/')}/{self._path(name)}"))
        except FileNotFoundError:
            return None

    def _put(self, name: str, record: PortionRecord) -> PortionRecord:
        if self.stage.put_if_absent(self._path(name), record.to_bytes()):
            return record
        theirs = self._read(name)
        if theirs is None:
            raise FileNotFoundError(f"{self._path(name)} of another attempt is gone")
        log.warning("%s: extract: a twin of this task was first with a portion; using its files", self.stream)
        self.stage.delete([file.uri for file in record.files])
        return theirs

    def _path(self, name: str) -> str:
        return f"{self.folder}/portion-{name}.json"
