"""Clustering keys of tables, which fakesnow forgets; SHOW TABLES tells them.  In the emulator's environment."""

from __future__ import annotations

import re
from typing import Final

_KEYS: Final[dict[str, str]] = {}
_CREATE: Final = re.compile(r"CREATE .*?TABLE (?:IF NOT EXISTS )?(\S+) \(.*CLUSTER BY (\(.*?\))", re.DOTALL)
_DROP: Final = re.compile(r"ALTER TABLE (\S+) DROP CLUSTERING KEY")


def note(command: str) -> bool:
    """Remember the key of a table that is made; whether the statement is one that drops a key, which is then gone."""
    if made := _CREATE.match(command):
        _KEYS[made[1]] = f"LINEAR{made[2]}"
    if gone := _DROP.match(command):
        _KEYS.pop(gone[1], None)
    return bool(gone)


def shown(schema: str, name: str) -> str:
    """Return a query with the answer of SHOW TABLES for one table of a quoted schema."""
    key = _KEYS.get(f'{schema}."{name}"', "").replace("'", "''")
    return f"SELECT '{name}' AS \"name\", '{key}' AS \"cluster_by\""
