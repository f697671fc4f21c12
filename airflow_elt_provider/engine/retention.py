"""Which files of a stage nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from airflow_elt_provider.core.layout import load_file
from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.errors import ConfigurationError

DEFAULT_RETENTION: Final = timedelta(days=7)


@dataclass
class ExpiredLoad:
    """A load whose files may go, manifests first: half a load must not look like a whole one.

    :param manifests: newest first, so that those left after a crash count on from 0.
    """

    folder: str
    manifests: list[StoredFile] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)


def expired(files: Iterable[StoredFile], root: str, older_than: timedelta, now: datetime) -> list[ExpiredLoad]:
    """Return the loads whose newest file is older than ``older_than``.

    What does not lie where a load's files lie, directly below the stage's root, is not looked at: other files
    of the customer, other stages further down, ``_state/``.

    :raises ConfigurationError: for a negative age.
    """
    if older_than < timedelta(0):
        raise ConfigurationError(
            f"The retention {older_than} is negative.", hint="give it as a positive span, e.g. 7 days"
        )
    loads: dict[str, list[tuple[int | None, StoredFile]] | None] = {}  # None: has a file that is young
    for file in files:
        known = load_file(file.uri.removeprefix(f"{root.rstrip('/')}/"))
        if known is None:
            continue
        held = loads.setdefault(known.load, [])
        if file.modified >= now - older_than:
            loads[known.load] = None
        elif held is not None:
            held.append((known.manifest, file))
    return [_load(folder, held) for folder, held in loads.items() if held is not None]


def _load(folder: str, held: list[tuple[int | None, StoredFile]]) -> ExpiredLoad:
    manifests = sorted(((number, file) for number, file in held if number is not None), key=lambda each: -each[0])
    parts = [file for number, file in held if number is None]
    return ExpiredLoad(folder, [file for _, file in manifests], parts)
