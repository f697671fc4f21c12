"""What DDL Hologres takes. Marks as in `hologres_sql.py`."""

from __future__ import annotations

import re

from sqlglot import exp

from servers.hologres_statement import (
    SYNTAX_ERROR,
    Kind,
    RefusalError,
    Statement,
    Version,
    parsed,
    table_name,
    without_texts,
)

_TYPES = frozenset({
    "SMALLINT", "INT", "BIGINT", "BOOLEAN", "REAL", "DOUBLE PRECISION", "TEXT", "TIMESTAMPTZ", "TIMESTAMP", "DATE",
    "TIME", "TIMETZ", "CHAR", "VARCHAR", "BIT", "VARBIT", "BIT VARYING", "BYTEA", "JSON", "JSONB", "INTERVAL", "INET",
    "MONEY", "OID", "UUID", "DECIMAL", "NUMERIC", "SERIAL", "BIGSERIAL",
})  # fmt: skip
"""[doc] Data types"""
_ARRAYS = frozenset({"INT[]", "BIGINT[]", "REAL[]", "DOUBLE PRECISION[]", "BOOLEAN[]", "TEXT[]"})
"""[doc] one-dimensional arrays"""
_KEYS = frozenset(
    {"SMALLINT", "INT", "BIGINT", "BOOLEAN", "TEXT", "CHAR", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMPTZ"}
)
"""[doc] no FLOAT, DOUBLE, NUMERIC, ARRAY, JSON and other complex types; [assumed] for the rest of those absent here"""
_NOT_IN_CREATE_TABLE = (
    exp.ForeignKey, exp.Reference, exp.UniqueColumnConstraint, exp.CheckColumnConstraint, exp.LikeProperty,
    exp.GeneratedAsIdentityColumnConstraint, exp.ComputedColumnConstraint,
)  # fmt: skip
_MAX_DIGITS = 38
_TO_MILLISECONDS = re.compile(r"\b(timestamp with time zone|timestamptz)\b(?!\s*\()", re.IGNORECASE)
_ALTERABLE = re.compile(
    r"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?\S.*?\s(?:ADD\s+COLUMN|RENAME\s+(?:COLUMN\s|TO\s)|DROP\s+COLUMN|"
    r"ALTER\s+(?:COLUMN\s+)?.*?\s(?:TYPE\b|SET\s+DEFAULT\b|DROP\s+DEFAULT\b)|OWNER\s+TO\b|SET\s*\()",
    re.IGNORECASE | re.DOTALL,
)
_TYPE_SINCE: Version = (3, 0)


def examine_ddl(text: str, word: str, version: Version) -> Statement:
    """Say what a DDL statement is. :raises RefusalError: where Hologres of that version refuses it."""
    if re.match(r"CREATE\s+TABLE\b", text, re.IGNORECASE):
        return Statement(Kind.DDL, _created(text), word)
    if re.match(r"ALTER\s+TABLE\b", text, re.IGNORECASE):
        return _altered(text, version)
    return Statement(Kind.DDL, text, word)


def _created(text: str) -> str:
    tree = parsed(text)
    if not isinstance(tree, exp.Create):
        raise RefusalError("CREATE TABLE is not understood by the emulator", SYNTAX_ERROR)
    for refused in _NOT_IN_CREATE_TABLE:
        if tree.find(refused):
            raise RefusalError(f"{refused.__name__} is not supported in CREATE TABLE")  # [doc]
    types = {column.name: _checked(column) for column in tree.find_all(exp.ColumnDef)}
    key = tree.find(exp.PrimaryKey)
    names = [part.name for part in key.expressions] if key else []
    names += [column.name for column in tree.find_all(exp.ColumnDef) if column.find(exp.PrimaryKeyColumnConstraint)]
    for name in names:
        if types[name].partition("(")[0] not in _KEYS:
            raise RefusalError(f"primary key column {name} of type {types[name]} is not supported")
    return _in_milliseconds(text)


def _checked(column: exp.Expr) -> str:
    kind = column.args.get("kind")
    type_ = kind.sql("postgres").upper() if kind is not None else ""
    base = type_.partition("(")[0].strip()
    if type_ not in _ARRAYS and (type_.endswith("[]") or base not in _TYPES):
        raise RefusalError(f"type {type_ or '?'} of column {column.name} is not supported", "42704")
    if base in {"DECIMAL", "NUMERIC"}:
        digits = [int(part) for part in re.findall(r"\d+", type_)]
        if len(digits) != 2 or digits[0] > _MAX_DIGITS:  # [doc] precision and scale, 38 at most
            raise RefusalError(f"type {type_} of column {column.name}: precision and scale up to 38 must be given")
    return type_


def _altered(text: str, version: Version) -> Statement:
    bare = without_texts(text)
    if not _ALTERABLE.match(bare):
        raise RefusalError("this form of ALTER TABLE is not supported")  # [doc]
    if re.search(r"ADD\s+COLUMN\s+IF\s+NOT\s+EXISTS\b", bare, re.IGNORECASE):
        raise RefusalError("ADD COLUMN IF NOT EXISTS is not supported")  # [assumed] not in the documented syntax
    tree = parsed(text)
    for column in tree.find_all(exp.ColumnDef):
        _checked(column)
    converts = None
    if re.search(r"\sTYPE\s", bare, re.IGNORECASE):
        converts = _conversion(tree, bare, version)
    return Statement(Kind.DDL, _in_milliseconds(text), "ALTER", converts=converts)


def _conversion(tree: exp.Expr, bare: str, version: Version) -> tuple[str, str, str]:
    if version < _TYPE_SINCE:  # [doc] V3.0 and later
        raise RefusalError("ALTER COLUMN TYPE is not supported")
    if re.search(r"\bUSING\b", bare, re.IGNORECASE):  # [doc]
        raise RefusalError("ALTER COLUMN TYPE ... USING is not supported")
    action = tree.find(exp.AlterColumn)
    if action is None:
        raise RefusalError("ALTER COLUMN TYPE is not understood by the emulator", SYNTAX_ERROR)
    return table_name(tree.this), action.this.name, action.args["dtype"].sql("postgres").upper()


def refuse_conversion(current: str, new: str) -> None:
    """Refuse what ALTER COLUMN TYPE cannot do; `current` as `format_type` gives it. [doc]"""
    base, length = _declared(current.replace("character varying", "VARCHAR").replace("character", "CHAR"))
    to, room = _declared(new)
    grows = {
        ("VARCHAR", "VARCHAR"): room > length > 0,
        ("CHAR", "CHAR"): room > length,
        ("CHAR", "VARCHAR"): room >= length,
    }
    if to == "TEXT" and base in {"VARCHAR", "CHAR", "JSON"}:
        return
    if not grows.get((base, to), False):
        raise RefusalError(f"ALTER COLUMN TYPE from {current} to {new} is not supported")


def _declared(type_: str) -> tuple[str, int]:
    base, _, rest = type_.upper().partition("(")
    return base.strip(), int(rest.rstrip(")") or 0) if rest.rstrip(")").isdigit() or not rest else 0


def _in_milliseconds(text: str) -> str:
    """[doc] TIMESTAMPTZ is kept in milliseconds."""
    parts = re.split(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")", text)
    return "".join(
        part if number % 2 else _TO_MILLISECONDS.sub("timestamp(3) with time zone", part)
        for number, part in enumerate(parts)
    )
