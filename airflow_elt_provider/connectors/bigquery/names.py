"""Identifiers and literals as GoogleSQL, and the names that BigQuery can hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

_MAX_COLUMN: Final = 300
_MAX_TABLE_BYTES: Final = 1024
_FORBIDDEN: Final = re.compile(r"""[!"$()*,./;?@\[\\\]^`{}~\x00-\x1f\x7f]""")
_RESERVED: Final = (
    "_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER", "_CHANGE_SEQUENCE_NUMBER",
    "_CHANGE_TYPE", "_CHANGE_TIMESTAMP",
)  # fmt: skip
_DATASET: Final = re.compile(r"[A-Za-z0-9_]{1,1024}")
_TABLE_CATEGORIES: Final = frozenset({"L", "M", "N"})
_TABLE_MARKS: Final = frozenset({"Pc", "Pd", "Zs"})
_ESCAPES: Final = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0"}


def quoted(name: str) -> str:
    """Return an identifier in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value: str) -> str:
    """Return a string constant."""
    return "'" + "".join(_ESCAPES.get(character, character) for character in value) + "'"


def label(value: str) -> str:
    """Return what a label may hold of a text: 63 lower-case letters, digits, dashes and underscores."""
    return re.sub(r"[^a-z0-9_-]", "_", value.lower())[:63]


def refuse_table(ref: TableRef) -> None:
    """Refuse a target whose dataset or table BigQuery cannot name.

    :raises ConfigurationError: says which part.
    """
    *outer, table = ref.parts
    bad = {c for c in table if not _may_name_a_table(c)}
    if bad or len(table.encode()) > _MAX_TABLE_BYTES:
        raise ConfigurationError(
            f"{ref}: BigQuery has no table of the name {table!r}.",
            hint="use letters, digits, underscores, dashes and spaces, at most 1024 bytes",
        )
    if outer and not _DATASET.fullmatch(outer[-1]):
        raise ConfigurationError(
            f"{ref}: BigQuery has no dataset of the name {outer[-1]!r}.", hint="use letters, digits and underscores"
        )


def _may_name_a_table(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in _TABLE_CATEGORIES or category in _TABLE_MARKS


def refuse_columns(names: Iterable[str], source: str) -> None:
    """Refuse columns that BigQuery cannot name, or cannot tell apart: case does not count.

    :raises ConfigurationError: names the first one, and the setting that renames it.
    """
    seen: dict[str, str] = {}
    for name in names:
        problem = _problem(name)
        if problem:
            raise ConfigurationError(
                f"{source} has a column {name!r}, a name that BigQuery does not take: {problem}.",
                hint=f"rename it: rename={{{name!r}: '...'}}",
            )
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ConfigurationError(
                f"Columns {other!r} and {name!r} have one name in BigQuery, where case does not count.",
                hint=f"rename one of them: rename={{{name!r}: '...'}}",
            )


def _problem(name: str) -> str:
    if len(name) > _MAX_COLUMN:
        return f"it has {len(name)} characters, {_MAX_COLUMN} are allowed"
    found = _FORBIDDEN.search(name)
    if found:
        return f"it has the character {found[0]!r}"
    reserved = next((prefix for prefix in _RESERVED if name.upper().startswith(prefix)), "")
    return f"{reserved} is a prefix of its own columns" if reserved else ""
