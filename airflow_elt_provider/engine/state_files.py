"""State files: what a source keeps for its next extract, on the stage, named by the checkpoint."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow_elt_provider.core.checkpoint import Position, StateFile
from airflow_elt_provider.core.protocols import Memory, Outcome, Stage, StoredFile

log = logging.getLogger(__name__)

FOLDER: Final = "_state"
KEPT: Final = timedelta(days=1)
"""For so long a state file that no checkpoint names any more may still be a twin's."""


def recall(stage: Stage, stream: str, since: Position | None) -> Memory:
    """Return what the position's state file holds; nothing where it is gone or damaged, which the log says."""
    named = since.snapshot.state if since and since.snapshot else None
    if named is None:
        return Memory()
    try:
        data = stage.read(named.uri)
    except FileNotFoundError:
        log.warning("%s: extract: the state file %s is gone; comparing with nothing", stream, named.uri)
        return Memory()
    if hashlib.sha256(data).hexdigest() != named.sha256:
        log.warning("%s: extract: the state file %s is not what was written; comparing with nothing", stream, named.uri)
        return Memory()
    return Memory(data)


def keep(stage: Stage, folder: str, name: str, outcome: Outcome) -> Position:
    """Put the outcome's state on the stage and return the position that names it.

    :param folder: the stream's.
    :param name: of this attempt alone.
    """
    position = outcome.position
    if outcome.state is None or position.snapshot is None:
        return position
    path = f"{FOLDER}/{folder}/{name}.state"
    digest = hashlib.sha256(outcome.state).hexdigest()
    stage.put_if_absent(path, outcome.state)
    named = StateFile(f"{stage.root.rstrip('/')}/{path}", digest, len(outcome.state))
    return replace(position, snapshot=replace(position.snapshot, state=named))


def forget_old(stage: Stage, folder: str, since: Position | None) -> None:
    """Delete the stream's state files from before the one that its checkpoint names, once they are old."""
    named = since.snapshot.state if since and since.snapshot else None
    if named is None:
        return
    files = list(stage.list(f"{FOLDER}/{folder}"))
    current = next((file for file in files if file.uri == named.uri), None)
    if current:
        stage.delete([file.uri for file in _older(files, current)])


def _older(files: list[StoredFile], current: StoredFile) -> Iterator[StoredFile]:
    limit = min(current.modified, datetime.now(UTC) - KEPT)
    return (file for file in files if file.uri != current.uri and file.modified < limit)
