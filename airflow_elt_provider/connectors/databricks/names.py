"""Names and literals in Databricks's SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

LONGEST: Final = 255
_FORBIDDEN: Final = re.compile(r"[./ \x00-\x1f\x7f]")
_PARTS: Final = 3


def quoted(name: str) -> str:
    """Return an identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return a text as a literal. ``$`` is spelled so that no variable is put in its place."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\u0024{")
    return f"'{escaped}'"


def full_name(ref: TableRef, catalog: str, schema: str) -> TableRef:
    """Return a table's name with catalog and schema, in lower case, as Unity Catalog keeps it.

    :raises ConfigurationError: for a name that Unity Catalog does not take.
    """
    if len(ref.parts) > _PARTS:
        raise ConfigurationError(
            f"{ref} has more parts than Databricks's names.", hint="write table, schema.table or catalog.schema.table"
        )
    for part in ref.parts:
        if _FORBIDDEN.search(part) or len(part) > LONGEST:
            raise ConfigurationError(
                f"{ref} is no name for a table in Databricks: {part!r} has a dot, a blank, a slash, a control "
                f"character, or more than {LONGEST} characters.",
                hint="choose another target_table",
            )
    return TableRef(tuple(part.lower() for part in (*(catalog, schema)[: _PARTS - len(ref.parts)], *ref.parts)))


def refuse_columns(names: Iterable[str]) -> None:
    """Refuse columns that Databricks cannot tell apart, or not hold.

    :raises ConfigurationError: names them.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ConfigurationError(
                f"Columns {other!r} and {name!r} have one name in Databricks, where case does not count.",
                hint=f"rename one of them: rename={{{name!r}: '...'}}",
            )
        if len(name) > LONGEST:
            raise ConfigurationError(
                f"Column {name!r} has more than {LONGEST} characters.", hint=f"rename it: rename={{{name!r}: '...'}}"
            )
