"""Which tables of ``sync_tables`` have parameters of their own, and where each of them goes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

log = logging.getLogger(__name__)
_NAMED = 10
"""Names that an error holds at most."""


def matches(table: TableRef, patterns: Iterable[str]) -> bool:
    """Say whether a table is one of these, or fits one of these patterns."""
    return any(_named(table, pattern) or _fits(table, pattern) for pattern in patterns)


def own_parameters(overrides: Mapping[str, Mapping[str, Any]], table: TableRef) -> dict[str, Any]:
    """Return the parameters that a table has of its own; those by its whole name go before those by a pattern."""
    found: dict[str, Any] = {}
    for pattern, parameters in sorted(overrides.items(), key=lambda item: _named(table, item[0])):
        if matches(table, [pattern]):
            found.update(parameters)
    return found


def refuse_unmatched(overrides: Iterable[str], tables: Sequence[TableRef], schema: str) -> None:
    """Refuse a name of no table, whose parameters would silently be nobody's; a pattern may wait for its first table.

    :param tables: all of the schema, also those that are left out.
    :raises ConfigurationError: names the ones that are alike.
    """
    for name in overrides:
        if any(matches(table, [name]) for table in tables):
            continue
        if any(letter in name for letter in "*?["):
            log.warning("overrides of %r: no table of schema %r fits this pattern.", name, schema)
            continue
        known = sorted({text for table in tables for text in (table.name, str(table))})
        near = get_close_matches(name, known, n=3)
        alike = f"did you mean {' or '.join(map(repr, near))}?" if near else f"write one of {_list(known)}"
        raise ConfigurationError(
            f"overrides of {name!r}: schema {schema!r} has no such table.", hint=f"{alike}; or leave the override out"
        )


def refuse_shared_targets(targets: Sequence[tuple[TableRef, TableRef]]) -> None:
    """Refuse two tables with one target: the later would overwrite the earlier.

    :param targets: source and target of each table.
    :raises ConfigurationError: names the tables.
    """
    sources: dict[tuple[str, ...], list[tuple[TableRef, TableRef]]] = {}
    for source, target in targets:
        sources.setdefault(tuple(part.casefold() for part in target.parts), []).append((source, target))
    shared = [pairs for pairs in sources.values() if len(pairs) > 1]
    if not shared:
        return
    told = [
        f"{_list([str(source) for source, _ in pairs])} -> {_list(sorted({str(target) for _, target in pairs}))}"
        for pairs in shared
    ]
    folded = any(len({target for _, target in pairs}) > 1 for pairs in shared)
    case = " Names that differ in capitals only are one table to many destinations." if folded else ""
    raise ConfigurationError(
        f"Several tables have one target, and would overwrite each other: {_list(told, '; ')}.{case}",
        hint="put {table} into target_table, or give them targets of their own: "
        f"overrides={{{shared[0][-1][0].name!r}: {{'target_table': '...'}}}}",
    )


def _named(table: TableRef, name: str) -> bool:
    return name in {table.name, str(table), ".".join(table.parts)}


def _fits(table: TableRef, pattern: str) -> bool:
    # With its schema only where the pattern has a dot: "p*" is not to fit all tables of "public".
    return fnmatchcase(table.name, pattern) or ("." in pattern and fnmatchcase(".".join(table.parts[-2:]), pattern))


def _list(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - _NAMED
    return between.join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
