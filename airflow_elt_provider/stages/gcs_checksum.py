"""The checksum that Google compares before an object comes into being, and its client after it has read one."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

CHECKSUM: Final = "crc32c"
_PIECE: Final = 1 << 20


def checksum_of(path: Path) -> str:
    """Return a file's CRC32C as Google writes it."""
    import google_crc32c

    make: Any = google_crc32c.Checksum
    checksum = make()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            checksum.update(piece)
    return base64.b64encode(checksum.digest()).decode()
