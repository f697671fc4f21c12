"""Where the files of loads lie on a stage: ``<stream>-<12 hex>/<load id>/...``.

Customers keep other files beside ours, so everything that takes files away goes by these names to the letter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

WORK_PREFIX: Final = ".elt-"
"""Begins the names of files and folders in which work is under way; they are never listed."""

_LOAD_FILE: Final = re.compile(
    r"(?P<load>[A-Za-z0-9-][A-Za-z0-9._-]*-[0-9a-f]{12}/[0-9a-f]{32})/"
    r"(?:manifest-(?P<number>[0-9]+)\.json|portion-[0-9a-f]{8}-[0-9]+\.json|[0-9a-f]{8}/[^/]+)"
)


@dataclass(frozen=True)
class LoadFile:
    """What the path of a load's file says.

    :param load: folder of the load, below the stage's root.
    :param manifest: number of the manifest; None for every other file.
    """

    load: str
    manifest: int | None


def load_file(path: str) -> LoadFile | None:
    """Read a path below a stage's root; None when no load of ours has such files."""
    found = _LOAD_FILE.fullmatch(path)
    return LoadFile(found["load"], int(found["number"]) if found["number"] else None) if found else None
