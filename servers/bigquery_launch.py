"""Start local-bigquery without reaching for the Internet; a program for its own environment.

DuckDB refuses a time zone among the settings of `connect` before its icu extension is loaded, and would then
fetch icu, although it is linked into the wheel: the time zone is set after connecting instead.

What the emulator gets wrong and our tests need is put right here:

* BYTES of a Parquet file are bytes, not base64.
* `SAFE.PARSE_JSON` gives what BigQuery gives: keys sorted, of two equal ones the first, numbers only where they
  can be held exactly, and NULL for the rest.
* `ALTER TABLE` takes several `RENAME COLUMN`, and the catalog knows the digits of a NUMERIC that it changed or added.
* A transaction that lost against another fails with BigQuery's words, and so does a dataset or table that
  another query made at the same moment.
"""

from __future__ import annotations

import json
import re
import sys
from decimal import Decimal, InvalidOperation
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import duckdb

_connect = duckdb.connect
_RENAMES = re.compile(r"(ALTER TABLE (?:`[^`]+`\.?)+ )(RENAME COLUMN `[^`]+` TO `[^`]+`), (?=RENAME COLUMN)")
_LOST = re.compile("Failed to commit DuckLake transaction|Transaction conflict|write-write conflict|Conflict on update")
_MADE = re.compile(
    r'Duplicate key "(project_id: [^"]*)" violates primary key|UNIQUE constraint violation: duplicate key "([^"]*)"'
)
_MAX_UINT64 = 2**64 - 1
_MIN_INT64 = -(2**63)


def connect(
    database: str | Path = ":memory:", *, config: dict[str, Any] | None = None, **options: Any
) -> duckdb.DuckDBPyConnection:
    """Connect as `duckdb.connect` does, and set the time zone last."""
    settings = dict(config or {})
    zone = settings.pop("TimeZone", None)
    connection = _connect(database, config=settings, **options)
    if zone:
        connection.execute(f"SET GLOBAL TimeZone = '{zone}'")
    return connection


def read_bytes_of_parquet() -> None:
    """Let load jobs take BYTES from Parquet as they are."""
    from local_bigquery.engine import types
    from local_bigquery.engine.database import quote
    from local_bigquery.jobs import load

    projection = load._projection  # noqa: SLF001 - there is no other way in

    def corrected(config: Any, fields: list[Any], columns: list[str]) -> tuple[str, str]:
        if not fields or config.sourceFormat != "PARQUET":
            return projection(config, fields, columns)  # type: ignore[no-any-return]
        casts = (f"CAST({quote(field.name)} AS {types.duckdb_type(field)}) AS {quote(field.name)}" for field in fields)
        return ", ".join(casts), "false"

    load._projection = corrected  # noqa: SLF001


# --- JSON ---


def _exact(text: str) -> int | float:
    try:
        number = float(text)
        if Decimal(repr(number)) == Decimal(text):
            return number
    except InvalidOperation:
        pass
    raise ValueError(text)


def _integer(text: str) -> int | float:
    number = int(text)
    return number if _MIN_INT64 <= number <= _MAX_UINT64 else _exact(text)


def _refused(text: str) -> Any:
    raise ValueError(text)


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def parsed(text: str | None) -> str | None:
    """Return JSON text as BigQuery keeps it, None for what it cannot keep."""
    if text is None:
        return None
    try:
        value = json.loads(
            text, object_pairs_hook=_first_of_each, parse_float=_exact, parse_int=_integer, parse_constant=_refused
        )
    except ValueError:
        return None
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_json_exactly() -> None:
    """Let SAFE.PARSE_JSON be what it is on BigQuery."""
    from local_bigquery.engine import database
    from local_bigquery.sql import native, translate
    from sqlglot import exp

    register = native.register

    def registered(connection: duckdb.DuckDBPyConnection) -> None:
        register(connection)
        connection.create_function("_elt_parsed", parsed, ["VARCHAR"], "VARCHAR", null_handling="special")

    def rule(tree: Any, _context: Any) -> Any:
        for node in list(tree.find_all(exp.SafeFunc)):
            if node.this.name.lower().rpartition(".")[2] == "parse_json":
                argument = node.this.expressions[0].copy()
                call = exp.cast(exp.func("_elt_parsed", argument), "JSON", dialect="duckdb")
                tree = call if node is tree else tree
                node.replace(call)
        return tree

    native.register = registered
    database.native.register = registered
    translate.STATEMENT_RULES.insert(0, rule)


# --- DDL ---


def keep_digits() -> None:
    """Let the catalog know precision and scale of what ALTER TABLE changes, adds or renames."""
    from local_bigquery.catalog import ddl, metadata, names, tables
    from local_bigquery.jobs import query
    from local_bigquery.models import Table
    from sqlglot import exp

    apply = ddl.apply

    def applied(tree: Any, project: str, dataset: str, evaluate: Any) -> None:
        apply(tree, project, dataset, evaluate)
        target = tree.find(exp.Table)
        if not isinstance(tree, exp.Alter) or tree.args.get("kind") != "TABLE" or target is None:
            return
        reference = names.reference(target, project, dataset)
        stored = metadata.load(Table, *reference)
        if stored is None:
            return
        fields = {field.name.casefold(): field.dump() for field in tables.fields(stored)}
        for action in tree.args.get("actions") or []:
            _note(ddl, exp, action, fields)
        tables.record(*reference, stored.merged(Table.model_validate({"schema": {"fields": list(fields.values())}})))

    ddl.apply = applied
    query.catalog_ddl.apply = applied


def _note(ddl: Any, exp: Any, action: Any, fields: dict[str, Any]) -> None:
    if isinstance(action, exp.RenameColumn):
        known = fields.pop(action.this.name.casefold(), None)
        if known:
            fields[action.args["to"].name.casefold()] = {**known, "name": action.args["to"].name}
        return
    kind = None
    if isinstance(action, exp.ColumnDef):
        kind = action.args.get("kind")
    elif isinstance(action, exp.AlterColumn):
        kind = action.args.get("dtype")
    if kind is not None:
        digits = ddl._parameters(kind)  # noqa: SLF001
        fields[action.name.casefold()] = {"name": action.name, **digits}


def rename_several() -> None:
    """Let ALTER TABLE take several RENAME COLUMN, one after the other."""
    from local_bigquery.sql import script

    parse = script.parse_script

    def parsed_script(sql: str) -> Any:
        before = ""
        while before != sql:
            before, sql = sql, _RENAMES.sub(r"\1\2; \1", sql)
        return parse(sql)

    script.parse_script = parsed_script


def say_who_was_first() -> None:
    """Say what BigQuery says when a transaction lost against another, or somebody else made a table."""
    from local_bigquery import errors
    from local_bigquery.jobs import runner

    known = errors.from_exception

    def translated(error: Exception) -> Any:
        found = known(error)
        if _LOST.search(found.message):
            return errors.BigQueryError(
                "invalidQuery", "Query error: Transaction is aborted due to concurrent update against table"
            )
        made = _MADE.search(found.message)
        if made:
            return errors.BigQueryError("duplicate", f"Already Exists: {made[1] or made[2]}")
        return found

    errors.from_exception = translated
    runner.from_exception = translated


if __name__ == "__main__":
    duckdb.connect = connect  # type: ignore[assignment]
    for correct in (read_bytes_of_parquet, parse_json_exactly, keep_digits, rename_several, say_who_was_first):
        correct()
    (program,) = entry_points(group="console_scripts", name="local-bigquery")
    sys.exit(program.load()())
