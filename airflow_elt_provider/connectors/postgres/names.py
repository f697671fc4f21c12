"""Identifiers and literals as SQL text, and names that somebody may have meant."""

from __future__ import annotations

from airflow_elt_provider.core.meant import meant

__all__ = ["literal", "meant", "quoted"]


def quoted(*parts: str) -> str:
    """Return a qualified name, each part in double quotes."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(value: str) -> str:
    """Return a string constant; the session has ``standard_conforming_strings`` on."""
    return "'" + value.replace("'", "''") + "'"
