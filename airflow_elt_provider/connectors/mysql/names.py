"""Identifiers and literals as MySQL's SQL, for sessions with an empty ``sql_mode`` and utf8mb4."""

from __future__ import annotations

from airflow_elt_provider.core.meant import meant

__all__ = ["literal", "meant", "quoted"]


def quoted(*parts: str) -> str:
    """Return a qualified name, each part in backticks."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def literal(value: str) -> str:
    """Return a string constant. A backslash is an escape in MySQL, unless ``sql_mode`` says otherwise."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"
