"""What a file wants a Fivetran connection to take of its source, and what has to change so that it does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.schemas import (
    ALLOW_ALL,
    BLOCK_ALL,
    POLICIES,
    SOFT_DELETE,
    Name,
    Raw,
    is_fixed,
    is_gone,
)
from airflow_elt_provider.remotes.config_as_code.model import joined, split
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift

_PARTS: Final = 2
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "schema": frozenset({"changes", "schemas", "tables"}),
    "schemas": frozenset({"enabled"}),
    "tables": frozenset({"enabled", "sync_mode", "columns"}),
    "columns": frozenset({"enabled", "hashed"}),
}
_SWITCHES: Final = frozenset({"enabled", "hashed"})


@dataclass(frozen=True)
class Wanted:
    """The section ``schema`` of a file, by the source's own names."""

    changes: str
    schemas: Mapping[str, Raw]
    tables: Mapping[Name, Raw]

    @classmethod
    def parse(cls, value: Any, place: str) -> Wanted:
        """Read it.

        :raises ConfigurationError: for anything that it cannot be; names place and value.
        """
        given = _checked(value, "schema", place)
        changes = given.get("changes", ALLOW_ALL)
        if changes not in POLICIES:
            raise ConfigurationError(
                f"{place}: schema.changes is {changes!r}.", hint=f"write one of {', '.join(POLICIES)}"
            )
        schemas = {name: _checked(one, "schemas", f"{place}, {name}") for name, one in _items(given, "schemas", place)}
        tables: dict[Name, Raw] = {}
        for name, one in _items(given, "tables", place):
            parts = split(name)
            if len(parts) != _PARTS:
                raise ConfigurationError(
                    f"{place}: {name!r} names no table.", hint=r"write 'schema.table'; a dot inside a name is '\.'"
                )
            table = _checked(one, "tables", f"{place}, {name}")
            for column, said in _items(table, "columns", place):
                _checked(said, "columns", f"{place}, {name}.{column}")
            tables[parts[0], parts[1]] = table
        return cls(changes, {split(name)[0]: one for name, one in schemas.items()}, tables)

    def missing_in(self, raw: Raw) -> list[tuple[str, ...]]:
        """Return the schemas and tables of the file that Fivetran does not know."""
        known = {name: schema.get("tables") or {} for name, schema in (raw.get("schemas") or {}).items()}
        schemas = dict.fromkeys([*self.schemas, *(name for name, _ in self.tables)])
        tables = [name for name in self.tables if name[0] in known and name[1] not in known[name[0]]]
        return [*((name,) for name in schemas if name not in known), *tables]

    def turns_on(self, schema: str, *, now: bool) -> bool:
        """Whether a schema is to be enabled."""
        said = self.schemas.get(schema, {}).get("enabled")
        if said is not None:
            return bool(said)
        if self.changes == ALLOW_ALL:
            return True
        return now or any(name[0] == schema and one.get("enabled") for name, one in self.tables.items())

    def takes(self, name: Name, table: Raw) -> bool:
        """Whether a table of a schema that is to be enabled is to be synced."""
        if is_fixed(table):
            return bool(table["enabled"])
        return bool(self.tables.get(name, {}).get("enabled", self.changes == ALLOW_ALL))

    def taken(self, raw: Raw) -> list[Name]:
        """Return the tables that are to be synced."""
        return [
            (name, table_name)
            for name, schema in (raw.get("schemas") or {}).items()
            if self.turns_on(name, now=bool(schema["enabled"]))
            for table_name, table in (schema.get("tables") or {}).items()
            if self.takes((name, table_name), table)
        ]


def patch(raw: Raw, wanted: Wanted, place: str) -> dict[str, Any]:
    """Return the body of ``PATCH /v1/connections/{id}/schemas`` that makes settings what a file says; {}: they are.

    :param raw: as they are; under BLOCK_ALL with all columns of the tables that are to be synced.
    :param place: names the connection in messages.
    :raises ConfigurationError: for a schema or table that the source has not.
    """
    _refuse_missing(raw, wanted, place)
    schemas: dict[str, Any] = {}
    for name, schema in (raw.get("schemas") or {}).items():
        on = wanted.turns_on(name, now=bool(schema["enabled"]))
        tables = {
            table_name: change
            for table_name, table in (schema.get("tables") or {}).items()
            if not is_gone(table) and (change := _change((name, table_name), table, wanted, on=on))
        }
        if tables or on is not bool(schema["enabled"]):
            schemas[name] = {"enabled": on, **({"tables": tables} if tables else {})}
    policy = {"schema_change_handling": wanted.changes} if raw["schema_change_handling"] != wanted.changes else {}
    return {**policy, **({"schemas": schemas} if schemas else {})}


def _change(name: Name, table: Raw, wanted: Wanted, *, on: bool) -> dict[str, Any]:
    said, now = wanted.tables.get(name, {}), bool(table["enabled"])
    takes = wanted.takes(name, table) if on else now
    change: dict[str, Any] = {}
    mode = said.get("sync_mode", SOFT_DELETE)
    if on and takes and mode != table.get("sync_mode", SOFT_DELETE):
        change["sync_mode"] = mode
    if columns := dict(_column_changes(table, said, wanted.changes, synced=on and takes)):
        change["columns"] = columns
    return {"enabled": takes, **change} if change or takes is not now else {}


def _column_changes(table: Raw, said: Raw, policy: str, *, synced: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    has, wishes = table.get("columns") or {}, said.get("columns") or {}
    for name in sorted({*has, *wishes}):
        column, wish = has.get(name, {"enabled": policy != BLOCK_ALL}), wishes.get(name, {})
        now = (bool(column["enabled"]), bool(column.get("hashed")))
        free = not is_fixed(column) and (synced or policy != BLOCK_ALL)
        enabled = bool(wish.get("enabled", policy != BLOCK_ALL)) if free else now[0]
        hashed = bool(wish.get("hashed", False))
        if (enabled, hashed) != now and not is_gone(column):
            yield name, {"enabled": enabled, "hashed": hashed}


def _refuse_missing(raw: Raw, wanted: Wanted, place: str) -> None:
    schemas = raw.get("schemas") or {}
    for name in wanted.missing_in(raw):
        names = schemas if len(name) == 1 else [joined(name[0], one) for one in schemas[name[0]].get("tables") or {}]
        near = difflib.get_close_matches(joined(*name), names, n=5, cutoff=0.4) or sorted(names)[:5]
        raise ConfigurationError(
            f"{place}: its source has no {'schema' if len(name) == 1 else 'table'} {joined(*name)!r}.",
            hint=f"it has {', '.join(near)}" if near else "it has none: check what the source lets Fivetran see",
        )


def additions(raw: Raw, drifts: Iterable[Drift]) -> dict[str, Any]:
    """Return the body of a PATCH that lets the tables and columns be synced that differences say are new."""
    schemas: dict[str, Any] = {}
    for drift in drifts:
        schema, table = _found(raw, split(drift.stream))
        if table is None or is_gone(table):
            continue
        name, table_name = split(drift.stream)
        column = (table.get("columns") or {}).get(drift.field, {"enabled": raw["schema_change_handling"] != BLOCK_ALL})
        if drift.kind == "stream_added" and not (schema["enabled"] and table["enabled"]) and not is_fixed(table):
            entry = schemas.setdefault(name, {"enabled": True, "tables": {}})
            entry["enabled"] = True
            entry["tables"].setdefault(table_name, {})["enabled"] = True
        elif drift.kind == "field_added" and not column["enabled"] and not is_fixed(column):
            entry = schemas.setdefault(name, {"enabled": schema["enabled"], "tables": {}})
            one = entry["tables"].setdefault(table_name, {"enabled": table["enabled"]})
            one.setdefault("columns", {})[drift.field] = {"enabled": True}
    return {"schemas": schemas} if schemas else {}


def _found(raw: Raw, name: Sequence[str]) -> tuple[Raw, Raw | None]:
    schema = (raw.get("schemas") or {}).get(name[0], {})
    return schema, (schema.get("tables") or {}).get(name[-1]) if len(name) == _PARTS else None


def _items(given: Raw, name: str, place: str) -> Iterator[tuple[str, Any]]:
    value = given.get(name) or {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{place}: {name} is {value!r}.", hint=f"write a mapping of names: {name}: {{..}}")
    yield from value.items()


def _checked(value: Any, kind: str, place: str) -> Raw:
    keys = _KEYS[kind]
    strange = sorted(map(str, value.keys() - keys)) if isinstance(value, Mapping) else [str(value)]
    if strange:
        raise ConfigurationError(f"{place}: {strange[0]!r} is none of {kind}.", hint=f"write {', '.join(sorted(keys))}")
    for name in sorted(_SWITCHES & value.keys()):
        if not isinstance(value[name], bool):
            raise ConfigurationError(f"{place}: {name} is {value[name]!r}.", hint="write true or false")
    found: Raw = value
    return found
