"""What a Fivetran connection takes of its source: only what differs from what Fivetran does by itself.

How tables and columns that nobody spoke of are treated says ``schema_change_handling``
(https://fivetran.com/docs/rest-api/tutorials/connection-schema-configuration-use-cases):

=============  =====================  =============================================================
``changes``    what nobody spoke of   what a file lists
=============  =====================  =============================================================
ALLOW_ALL      is synced              schemas, tables and columns that are disabled
ALLOW_COLUMNS  tables are not synced  tables that are enabled, columns that are disabled
BLOCK_ALL      is not synced          tables that are enabled, and their columns that are enabled
=============  =====================  =============================================================

Besides: a ``sync_mode`` other than SOFT_DELETE of a table that is synced, and columns that are hashed. What Fivetran
lets nobody change (system tables, primary keys), and what is gone from the source, is not listed. So a table or column
that the source adds changes no file.

Under BLOCK_ALL ``GET .../schemas`` leaves out columns that nobody spoke of, whether they are synced or not; what is
read here has the answer of ``GET .../columns`` in their place (:func:`with_columns`): a connection that is made of the
file must not sync a column that the old one blocked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from airflow_elt_provider.remotes.config_as_code.model import joined, split
from airflow_elt_provider.remotes.config_as_code.schema_lock import UNKNOWN, LockedStream, SchemaLock

Raw: TypeAlias = Mapping[str, Any]
"""``data`` of ``GET /v1/connections/{id}/schemas``."""
Name: TypeAlias = tuple[str, str]
"""Schema and table, as the source calls them."""
Columns: TypeAlias = Mapping[Name, Mapping[str, Any]]
"""``columns`` of ``GET .../schemas/{schema}/tables/{table}/columns``, by table."""
ALLOW_ALL: Final = "ALLOW_ALL"
BLOCK_ALL: Final = "BLOCK_ALL"
POLICIES: Final = (ALLOW_ALL, "ALLOW_COLUMNS", BLOCK_ALL)
SOFT_DELETE: Final = "SOFT_DELETE"


def canonical(raw: Raw) -> dict[str, Any]:
    """Return what a file holds of these settings."""
    policy = str(raw["schema_change_handling"])
    schemas: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for name, schema in (raw.get("schemas") or {}).items():
        if policy == ALLOW_ALL and not schema["enabled"]:
            schemas[joined(name)] = {"enabled": False}
        for table_name, table in (schema.get("tables") or {}).items():
            if value := _listed(policy, table, on=bool(schema["enabled"])):
                tables[joined(name, table_name)] = value
    return {"changes": policy, **({"schemas": schemas} if schemas else {}), **({"tables": tables} if tables else {})}


def _listed(policy: str, table: Raw, *, on: bool) -> dict[str, Any]:
    """Return what a file holds of a table.

    :param on: whether its schema is enabled; in one that is not no table is synced, whatever is said of it.
    """
    if is_gone(table):
        return {}
    synced = on and bool(table["enabled"])
    value: dict[str, Any] = {}
    if not is_fixed(table) and on and synced is not (policy == ALLOW_ALL):
        value["enabled"] = synced
    if synced and table.get("sync_mode", SOFT_DELETE) != SOFT_DELETE:
        value["sync_mode"] = table["sync_mode"]
    columns = {
        name: said for name, column in (table.get("columns") or {}).items()
        if (said := _listed_column(policy, column, synced=synced))
    }  # fmt: skip
    return {**value, "columns": columns} if columns else value


def _listed_column(policy: str, column: Raw, *, synced: bool) -> dict[str, Any]:
    if is_gone(column):
        return {}
    value: dict[str, Any] = {}
    blocks = policy == BLOCK_ALL
    if not is_fixed(column) and bool(column["enabled"]) is blocks and (synced or not blocks):
        value["enabled"] = blocks
    return {**value, "hashed": True} if column.get("hashed") else value


def is_fixed(one: Raw) -> bool:
    """Whether Fivetran lets nobody enable or disable a table or column."""
    return (one.get("enabled_patch_settings") or {}).get("allowed") is False


def is_gone(one: Raw) -> bool:
    """Whether the source has a table or column no longer."""
    return is_fixed(one) and one["enabled_patch_settings"].get("reason_code") == "DELETED"


def modes_differ(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a table that is synced before and after has another ``sync_mode``, also where a file does not list it.

    :param before: the values of a connection.
    :param wanted: those that it is to have.
    """
    old, new = before.get("schema") or {}, wanted.get("schema") or {}
    if not (old and new):
        return False
    names = {*(old.get("tables") or {}), *(new.get("tables") or {})}
    return any(
        _mode(old, name) != _mode(new, name) and None not in {_mode(old, name), _mode(new, name)} for name in names
    )


def _mode(section: Mapping[str, Any], name: str) -> str | None:
    """Return the mode in which a file's section has a table synced; None: it has not."""
    schemas, table = section.get("schemas") or {}, (section.get("tables") or {}).get(name) or {}
    of_schema = schemas.get(joined(split(name)[0])) or {}
    by_itself = section.get("changes", ALLOW_ALL) == ALLOW_ALL
    synced = of_schema.get("enabled", True) and table.get("enabled", by_itself)
    return str(table.get("sync_mode", SOFT_DELETE)) if synced else None


# --- what is read ---


def synced_tables(raw: Raw) -> list[Name]:
    """Return the tables that the connection syncs."""
    return [
        (name, table_name)
        for name, schema in (raw.get("schemas") or {}).items() if schema["enabled"]
        for table_name, table in (schema.get("tables") or {}).items() if table["enabled"]
    ]  # fmt: skip


def selected(raw: Raw) -> frozenset[str]:
    """Return the names of the tables that the connection syncs, those among them that are gone."""
    return frozenset(joined(*name) for name in synced_tables(raw))


def present(raw: Raw, tables: list[Name]) -> list[Name]:
    """Return those of the tables that the source has."""
    return [name for name in tables if not is_gone(raw["schemas"][name[0]]["tables"][name[1]])]


def with_columns(raw: Raw, columns: Columns) -> dict[str, Any]:
    """Return settings with all columns of some tables in the place of those that somebody spoke of."""
    schemas = {
        name: {
            **schema,
            "tables": {
                table: {**one, "columns": columns.get((name, table), one.get("columns") or {})}
                for table, one in (schema.get("tables") or {}).items()
            },
        }
        for name, schema in (raw.get("schemas") or {}).items()
    }
    return {**raw, "schemas": schemas}


def lock_of(raw: Raw, columns: Columns) -> SchemaLock:
    """Return all tables that Fivetran knows of the source; of those that are not synced the names alone."""
    return SchemaLock(
        {
            joined(name, table_name): _stream(columns.get((name, table_name), {}))
            for name, schema in (raw.get("schemas") or {}).items()
            for table_name, table in (schema.get("tables") or {}).items()
            if not is_gone(table)
        }
    )


def _stream(columns: Raw) -> LockedStream:
    there = {name: column for name, column in columns.items() if not is_gone(column)}
    key = sorted(name for name, column in there.items() if column.get("is_primary_key"))
    return LockedStream(dict.fromkeys(sorted(there), UNKNOWN), tuple(key))
