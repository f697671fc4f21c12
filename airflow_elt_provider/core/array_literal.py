"""Arrays as PostgreSQL writes them, ``{1,NULL,"a b"}``: how they travel where the source's arrays are no Arrow type."""

from __future__ import annotations

import re
from typing import Final

_NUMBERS: Final = re.compile(r"(?:smallint|integer|bigint|numeric|real|double precision|money|oid)\b", re.IGNORECASE)
_BOX: Final = re.compile(r"box\b")


def delimiter_of(source_type: str) -> str:
    """Return what stands between elements; ``source_type`` is the declaration at the source, e.g. ``integer[]``."""
    return ";" if _BOX.match(source_type) else ","


def has_numbers(source_type: str) -> bool:
    """Whether elements are numbers, which JSON has bare."""
    return bool(_NUMBERS.match(source_type))
