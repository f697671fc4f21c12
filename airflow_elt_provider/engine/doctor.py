"""Whether a stage can be used: a small file is written, looked for, read and removed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from airflow_elt_provider.core.doctor import Finding, Verdict, checked, note, ok, problem
from airflow_elt_provider.core.protocols import Destination, Stage, StoredFile
from airflow_elt_provider.errors import ConfigurationError

_CONTENT: Final = b"elt doctor\n"
_SKEW_NOTED: Final = 60.0
_SKEW_REFUSED: Final = 300.0
"""Seconds between two clocks. S3 refuses signatures that are 15 minutes off, Google tokens that are 5."""


def examine_stage(stage: Stage) -> Iterator[Finding]:
    """Try every right that a stage needs, and leave nothing behind.

    What follows a step that failed is not tried; the file is removed all the same.
    """
    folder = f"elt-doctor-{uuid4().hex}"
    for at, (check, step) in enumerate(_Probe(stage, folder).steps()):
        finding = checked(check, step)
        yield finding
        if finding.verdict is Verdict.PROBLEM:
            if at:
                yield checked("delete", lambda: _delete(stage, folder))
            return
    yield _clock(stage, _listed(stage, folder))
    yield checked("delete", lambda: _delete(stage, folder))


class _Probe:
    def __init__(self, stage: Stage, folder: str) -> None:
        self._stage, self._folder = stage, folder

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "write", self._put
        yield "write unless there", self._claim
        yield "list", self._list
        yield "read", self._read

    def _put(self) -> str:
        with self._stage.workspace() as workspace:
            local = workspace / "probe"
            local.write_bytes(_CONTENT)
            self._stage.put(local, f"{self._folder}/file")
        return f"{self._stage.root}/{self._folder}/file"

    def _claim(self) -> str:
        path = f"{self._folder}/claim"
        first, second = (self._stage.put_if_absent(path, text) for text in (_CONTENT, b"another\n"))
        if not first or second or self._read_of(path) != _CONTENT:
            raise ConfigurationError(
                f"{self._stage.root} lets a file be written twice: two tasks could not be kept apart.",
                hint="use a store with conditional writes (If-None-Match), and no gateway in front that drops the "
                "header",
            )
        return "the second writer is refused"

    def _list(self) -> str:
        if len(_listed(self._stage, self._folder)) != 2:  # noqa: PLR2004 - file and claim
            raise ConfigurationError(
                f"{self._stage.root} does not list what was just written.", hint="use a store whose lists are current"
            )
        return "lists what was just written"

    def _read(self) -> str:
        if self._read_of(f"{self._folder}/file") != _CONTENT:
            raise ConfigurationError(f"{self._stage.root} gives other bytes than were written.", hint="use another one")
        return "the same bytes"

    def _read_of(self, path: str) -> bytes:
        try:
            return self._stage.read(f"{self._stage.root}/{path}")
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{self._stage.root} does not have a file that was just written.", hint="use a store that keeps them"
            ) from error


def _listed(stage: Stage, folder: str) -> list[StoredFile]:
    return list(stage.list(f"{folder}/"))


def _clock(stage: Stage, found: list[StoredFile]) -> Finding:
    """Compare this machine's clock with that of whoever keeps the files."""
    off = (datetime.now(UTC) - max(file.modified for file in found)).total_seconds()
    told = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} that of {stage.root}"
    if abs(off) < _SKEW_NOTED:
        return ok("clock", "this machine's clock agrees with the store's")
    if abs(off) < _SKEW_REFUSED:
        return note("clock", f"this machine's clock is {told}", "set the clock (NTP)")
    return problem("clock", f"this machine's clock is {told}: signatures are refused", "set the clock (NTP)")


def _delete(stage: Stage, folder: str) -> str:
    stage.delete([file.uri for file in _listed(stage, folder)])
    if _listed(stage, folder):
        raise ConfigurationError(f"{stage.root}/{folder} is still there.", hint="remove it, and allow deleting")
    return "nothing is left"


def examine_match(stage: Stage, destination: Destination) -> Finding:
    """Say whether a destination can load from a stage."""
    check = f"load from {stage.scheme}://"
    reads = destination.capabilities.reads
    if stage.scheme in reads:
        return ok(check, "the destination can")
    known = ", ".join(sorted(f"{scheme}://" for scheme in reads))
    return problem(check, f"the destination loads from {known} only", f"use a stage that begins with {known}")


def examine_state(destination: Destination) -> Finding:
    """Look for a checkpoint that cannot be there: says whether our own tables can be read, where there are any."""

    def ask() -> str:
        destination.checkpoint("elt doctor")
        return "can be asked"

    return checked("checkpoints", ask)
