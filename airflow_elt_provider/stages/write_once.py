"""Writing an object unless one is there, by stores that take conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from airflow_elt_provider.errors import EltError, TransientError

WRITER: Final = "elt-writer"
"""Metadata that says which call wrote an object: a writer told "exists", or nothing, knows its own."""
_PAUSES: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each try of a write that met another one under way, or an object which is gone again."""


def write_once(uri: str, send: Callable[[str], bool], writer_of: Callable[[], str | None]) -> bool:
    """Write unless there is an object, and find out who wrote it when the answer leaves that open.

    A client repeats a request whose answer was lost, and is then told that the object exists.

    :param send: writes with the :data:`WRITER` it is given; False where the store refuses because of another object.
    :param writer_of: returns who wrote the object ("" for a stranger), or None when there is none.
    :raises TransientError: when nobody can tell.
    """
    writer = uuid4().hex
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            if send(writer):
                return True
        except TransientError as lost:
            return _after(lost, writer_of) == writer
        found = writer_of()
        if found is not None:
            return found == writer
    raise TransientError(f"{uri} is being written by others all the time.")


def _after(lost: TransientError, writer_of: Callable[[], str | None]) -> str:
    try:
        writer = writer_of()
    except EltError:
        raise lost from lost.__cause__
    if writer is None:
        raise lost
    return writer
