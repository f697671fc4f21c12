# ruff: noqa: SLF001 - it reaches into the emulator to correct it
"""Single functions that fakesnow translates wrongly, put right; in the emulator's environment."""

from __future__ import annotations

import json
from typing import Any

import fakesnow.copy_into
import fakesnow.transforms
from fakesnow.transforms.stage import is_internal
from sqlglot import exp

_urls_outside = fakesnow.copy_into._source_urls


def correct() -> None:
    """Put them into fakesnow."""
    fakesnow.transforms.regex_replace = _everywhere
    fakesnow.copy_into._source_urls = _urls
    fakesnow.copy_into._get_table_columns = _columns
    fakesnow.copy_into._match_parquet_columns = _matched


def corrected(expression: Any) -> Any:
    """Return a statement with what fakesnow would get wrong said in another way."""
    return expression.transform(_text_of_field).transform(_json_as_it_is).transform(_of_the_session)


def _text_of_field(node: Any) -> Any:
    """CAST(GET(json, 'field') AS VARCHAR) is the text, not its JSON."""
    if not (isinstance(node, exp.Cast) and isinstance(node.this, exp.GetExtract) and node.is_type("text", "varchar")):
        return node
    path = "$." + json.dumps(node.this.expression.name, ensure_ascii=False)
    return exp.Anonymous(this="json_extract_string", expressions=[node.this.this, exp.Literal.string(path)])


def _json_as_it_is(node: Any) -> Any:
    """PARSE_JSON keeps numbers; DuckDB's json() makes floats of them."""
    if isinstance(node, exp.ParseJSON) and not node.args.get("safe"):
        return exp.cast(node.this, exp.DataType.Type.JSON)
    return node


def _of_the_session(node: Any) -> Any:
    """CURRENT_WAREHOUSE() and CURRENT_ROLE(), which fakesnow does not know."""
    name = node.name if isinstance(node, exp.Anonymous) else node.sql_name() if isinstance(node, exp.Func) else ""
    known = {"CURRENT_WAREHOUSE": "LOADING", "CURRENT_ROLE": "SYSADMIN"}.get(name.upper())
    return exp.Literal.string(known) if known else node


def _everywhere(node: Any) -> Any:
    """REGEXP_REPLACE replaces all; fakesnow would also take a backslash away from the pattern."""
    if isinstance(node, exp.RegexpReplace):
        node.set("modifiers", exp.Literal.string("g"))
    return node


def _urls(source: str, files: list[str]) -> list[str]:
    """Let COPY take named files of an internal stage."""
    return [f"{source}{file}" for file in files] if is_internal(source) else _urls_outside(source, files)


def _columns(table: Any, connection: Any, database: str, schema: str) -> list[str]:
    """The columns of a table as they are; fakesnow folds letters that Snowflake leaves alone."""
    return [name for name, _ in fakesnow.copy_into._describe_table(table, connection, database, schema)]


def _matched(in_file: list[str], in_table: list[str], match: Any) -> dict[str, str]:
    del match
    known = {name.upper(): name for name in in_file}
    return {name: known[name.upper()] for name in in_table if name.upper() in known}
