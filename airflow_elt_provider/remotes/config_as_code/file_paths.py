"""What the files of configuration are called: safe on every system, readable, and no two alike."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from airflow_elt_provider.remotes.config_as_code.model import Key, KindSpec

_LONGEST, _LONGEST_BYTES = 80, 180
"""Of a slug, in characters and bytes: with hash and ending it is still a name that every file system takes."""
_OURS: Final = re.compile(r"\.(lock|proposed|ya?ml)$")
"""How no slug ends: the file would be taken for a lock, or for a proposal, and a folder would be called as a file."""


def paths_of(keys: Sequence[Key], specs: Mapping[str, KindSpec]) -> dict[Key, str]:
    """Return where each object is, without the ending: a slug of its name, with a hash where two would be the same."""
    plain = {key: _path(key, specs[key.kind]) for key in keys}
    taken: dict[str, int] = {}
    for path in plain.values():
        taken[path] = taken.get(path, 0) + 1
    return {key: path if taken[path] == 1 else f"{path}-{_hash(key)}" for key, path in plain.items()}


def possible_paths(key: Key, spec: KindSpec) -> tuple[str, str]:
    """Return the two places where an object may be, without the ending: alone with its slug, or sharing it."""
    path = _path(key, spec)
    return path, f"{path}-{_hash(key)}"


def _path(key: Key, spec: KindSpec) -> str:
    parts = [*([slug(key.workspace)] if key.workspace else []), spec.folder, slug(key.name)]
    return "/".join(parts)


def slug(name: str) -> str:
    """Return a name as part of a path: safe on every system, and readable.

    >>> slug("Shop → BigQuery")
    'shop-bigquery'
    """
    text = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", name).lower()).strip("-._")[:_LONGEST]
    while len(text.encode()) > _LONGEST_BYTES:
        text = text[:-1]
    text = _OURS.sub(r"-\1", text)
    return text or f"x-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:6]}"


def _hash(key: Key) -> str:
    return hashlib.sha256("\0".join(key.to_json()).encode(errors="surrogatepass")).hexdigest()[:6]
