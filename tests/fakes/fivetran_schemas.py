"""What a fake Fivetran connection takes of its source: schemas, tables and columns, and how new ones are treated.

A source is `{schema: {table: [columns]}}`; the first column of a table is its primary key.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Source: TypeAlias = dict[str, dict[str, list[str]]]
Known: TypeAlias = dict[str, dict[str, dict[str, bool]]]
"""The columns that were there when the source was last looked at, and whether Fivetran would sync them by itself."""
COLUMNS = ("id", "name", "last_update")
HANDLINGS = ("ALLOW_ALL", "ALLOW_COLUMNS", "BLOCK_ALL")
SYNC_MODES = ("SOFT_DELETE", "HISTORY", "LIVE")


def source_of(tables: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> Source:
    """Return a source of these tables; those without columns get the same three."""
    found: Source = {}
    for schema, named in tables.items():
        columns = named if isinstance(named, Mapping) else dict.fromkeys(named, COLUMNS)
        found[schema] = {table: list(names) for table, names in columns.items()}
    return found


def schema_config(names: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> dict[str, Any]:
    """Return the data selection of schemas with these tables, all enabled."""
    schemas = {name: _schema(name, list(tables), enabled=True) for name, tables in names.items()}
    return {"schema_change_handling": "ALLOW_ALL", "enable_new_by_default": True, "schemas": schemas}


def _schema(name: str, tables: Sequence[str], *, enabled: bool) -> dict[str, Any]:
    return {
        "name_in_destination": name,
        "enabled": enabled,
        "tables": {table: _table(table, enabled=enabled) for table in tables},
    }


def _table(name: str, *, enabled: bool) -> dict[str, Any]:
    return {
        "name_in_destination": name,
        "enabled": enabled,
        "sync_mode": "SOFT_DELETE",
        "enabled_patch_settings": {"allowed": True},
        "supports_columns_config": True,
        "supports_history_mode": True,
        "columns": {},
    }


def _column(name: str, *, enabled: bool = True, is_key: bool = False) -> dict[str, Any]:
    settings: dict[str, Any] = {"allowed": True}
    if is_key:
        settings = {"allowed": False, "reason_code": "OTHER", "reason": "The column is a primary key"}
    return {
        "name_in_destination": name, "enabled": enabled, "hashed": False, "enabled_patch_settings": settings,
        "is_primary_key": is_key,
    }  # fmt: skip


def reloaded(config: dict[str, Any], source: Source) -> dict[str, Any]:
    """Return the data selection after a look at the source: what is new is treated as `schema_change_handling` says.

    Tables that are gone stay, and cannot be changed any more.
    """
    seen = copy.deepcopy(config)
    enabled = seen["schema_change_handling"] == "ALLOW_ALL"
    for name, tables in source.items():
        schema = seen["schemas"].setdefault(name, _schema(name, (), enabled=enabled))
        for table in tables:
            schema["tables"].setdefault(table, _table(table, enabled=enabled))
    for name, schema in seen["schemas"].items():
        for table, one in schema["tables"].items():
            there = table in source.get(name, {})
            one["enabled_patch_settings"] = {"allowed": True} if there else {"allowed": False, "reason_code": "DELETED"}
    return seen


def known_after(known: Known, source: Source, handling: str, *, first: bool) -> Known:
    """Return the columns that are known after a look at the source."""
    new = first or handling != "BLOCK_ALL"
    return {
        schema: {
            table: {
                column: known.get(schema, {}).get(table, {}).get(column, new or table not in known.get(schema, {}))
                for column in columns
            }
            for table, columns in tables.items()
        }
        for schema, tables in source.items()
    }


def columns_of(config: dict[str, Any], known: Known, source: Source, schema: str, table: str) -> dict[str, Any]:
    """Return all columns that a table has in the source now; KeyError names what there is not."""
    kept, there = config["schemas"][schema]["tables"][table]["columns"], source[schema][table]
    by_itself = known.get(schema, {}).get(table, {})
    new = config["schema_change_handling"] != "BLOCK_ALL"
    return {
        column: {
            **_column(column, enabled=by_itself.get(column, new), is_key=number == 0),
            **{key: kept[column][key] for key in ("enabled", "hashed") if column in kept},
        }
        for number, column in enumerate(there)
    }


def enable_all(config: dict[str, Any], *, enabled: bool) -> dict[str, Any]:
    """Return the data selection with everything, or nothing, in it."""
    changed = copy.deepcopy(config)
    for schema in changed["schemas"].values():
        schema["enabled"] = enabled
        for table in schema["tables"].values():
            table["enabled"] = enabled
    return changed


def merged_schemas(config: dict[str, Any], change: dict[str, Any], *, unknown: str = "refused") -> dict[str, Any]:
    """Return the data selection after a change; KeyError names a schema or table that is not in it.

    `unknown`: "refused", or "ignored": then what is not there is left out.
    """
    merged = copy.deepcopy(config)
    for key in ("schema_change_handling", "is_type_locked"):
        if key in change:
            merged[key] = change[key]
    merged["enable_new_by_default"] = merged["schema_change_handling"] == "ALLOW_ALL"
    for name, schema in _there(change.get("schemas", {}), merged["schemas"], unknown):
        kept = merged["schemas"][name]
        kept["enabled"] = schema.get("enabled", kept["enabled"])
        for table, wanted in _there(schema.get("tables", {}), kept["tables"], unknown):
            columns = kept["tables"][table]["columns"]
            kept["tables"][table].update({key: wanted[key] for key in ("enabled", "sync_mode") if key in wanted})
            for column, values in wanted.get("columns", {}).items():
                columns[column] = {**columns.get(column, _column(column)), **values}
    return merged


def _there(changed: dict[str, Any], known: dict[str, Any], unknown: str) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in changed.items() if unknown == "refused" or name in known]


def wrong_in(change: dict[str, Any]) -> str | None:
    """Return what is wrong about a change of the data selection."""
    if change.get("schema_change_handling", "ALLOW_ALL") not in HANDLINGS:
        return f"schema_change_handling must be one of {HANDLINGS}"
    for schema in change.get("schemas", {}).values():
        for name, table in schema.get("tables", {}).items():
            if table.get("sync_mode", "LIVE") not in SYNC_MODES:
                return f"sync_mode of {name} must be one of {SYNC_MODES}"
    return None
