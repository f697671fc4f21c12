"""What Hologres makes of a statement: refuse it, or let it through, as what kind, with which tables.

Each refusal is marked in the code: [doc] where Alibaba Cloud's documentation says so ("SQL transactions", "List of SQL
statements", "CREATE TABLE", "ALTER TABLE", "COPY", "INSERT ON CONFLICT", "Data types", "Primary key", seen in 2026),
[assumed] where it is silent and the strict reading is taken, so that nothing passes here only because PostgreSQL
is more generous.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sqlglot import exp

from servers.hologres_ddl import examine_ddl
from servers.hologres_statement import (
    NOT_SUPPORTED,
    SYNTAX_ERROR,
    Kind,
    RefusalError,
    Statement,
    Version,
    parsed,
    table_name,
    without_texts,
)

SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema", "hologres"})


# --- words that say all ---

_WORDS: tuple[tuple[str, str], ...] = (
    (r"MERGE\b", 'syntax error at or near "MERGE"'),  # [doc] not in the list of statements
    (r"LOCK\b", "LOCK TABLE is not supported"),  # [doc] SELECT: no LOCKING; LOCK is not in the list
    (r"SAVEPOINT\b|RELEASE\b|ROLLBACK\s+TO\b", "SAVEPOINT is not supported"),  # [doc] not among the control statements
    (r"DECLARE\b|FETCH\b|MOVE\b", "DECLARE CURSOR is not supported"),  # [assumed] (CLOSE is listed, DECLARE is not)
    # [assumed], as are the next two
    (r"(BEGIN|START\s+TRANSACTION)\s+(TRANSACTION\s+|WORK\s+)?\w", "transaction modes are not supported"),
    (r"SET\s+(SESSION\s+CHARACTERISTICS|TRANSACTION)\b", "transaction modes are not supported"),
    (r"SET\s+LOCAL\b", "SET LOCAL is not supported"),
    (r"PREPARE\b|EXECUTE\b|LISTEN\b|NOTIFY\b|VACUUM\s+FULL\b|CLUSTER\b|DO\b", "{word} is not supported"),  # [doc]
    (r"CREATE\s+(OR\s+REPLACE\s+)?(CONSTRAINT\s+)?TRIGGER\b|CREATE\s+RULE\b|CREATE\s+(UNIQUE\s+)?INDEX\b",
     "{word} is not supported"),  # [doc] not in the list
    (r"CREATE\s+((GLOBAL|LOCAL)\s+)?(TEMP|TEMPORARY|UNLOGGED)\b",
     "CREATE TEMP/UNLOGGED TABLE is not supported"),  # [doc] CREATE TABLE (TEMP came with later versions)
)  # fmt: skip
_FUNCTIONS = re.compile(r"\bpg_(try_)?advisory_\w*|\bhashtext\w*\s*\(|\bfloat[48]send\s*\(", re.IGNORECASE)  # [assumed]
_COLLATE = re.compile(r"\bCOLLATE\b", re.IGNORECASE)  # [doc] for ALTER TABLE, [assumed] elsewhere
_BEGIN = re.compile(r"(BEGIN|START\s+TRANSACTION)(\s+(TRANSACTION|WORK))?", re.IGNORECASE)
_END = re.compile(r"(COMMIT|END|ROLLBACK|ABORT)(\s+(TRANSACTION|WORK))?", re.IGNORECASE)
_ENABLE = re.compile(r"SET\s+hg_experimental_enable_transaction\s*(?:=|TO)\s*'?(on|off|true|false)'?", re.IGNORECASE)
_COPY = re.compile(
    r'COPY\s+(?P<table>(?:"(?:[^"]|"")+"|\w+)(?:\.(?:"(?:[^"]|"")+"|\w+))?)\s*(?:\([^)]*\)\s*)?'
    r"FROM\s+STDIN\s*(?P<options>\(.*\)|WITH\b.*)?",
    re.IGNORECASE | re.DOTALL,
)
_COPY_OPTIONS = frozenset({
    "FORMAT", "DELIMITER", "NULL", "HEADER", "QUOTE", "ESCAPE", "FORCE_QUOTE", "FORCE_NOT_NULL", "ENCODING",
    "STREAM_MODE", "ON_CONFLICT",
})  # fmt: skip
_DDL_WORDS = frozenset({"CREATE", "ALTER", "DROP", "TRUNCATE", "COMMENT", "GRANT", "REVOKE", "CALL", "IMPORT"})
_PASSING = frozenset({"SET", "SHOW", "RESET", "ANALYZE", "EXPLAIN", "DISCARD"})


@lru_cache(maxsize=2048)
def examine(sql: str, version: Version) -> Statement:
    """Say what a statement is. :raises RefusalError: where Hologres of that version refuses it."""
    text = sql.strip().rstrip(";").strip()
    bare = without_texts(text)
    word = (re.match(r"\w+", bare) or [""])[0].upper()
    _refuse_words(bare, word)
    if ";" in bare:
        raise RefusalError("several statements in one message: this emulator takes one at a time")
    control = _control(text, bare, word, version)
    if control:
        return control
    if word == "COPY":
        return _copy(text)
    return examine_ddl(text, word, version) if word in _DDL_WORDS else _query(text, word)


def _control(text: str, bare: str, word: str, version: Version) -> Statement | None:
    if _BEGIN.fullmatch(bare):
        return Statement(Kind.BEGIN, "BEGIN", word)
    if _END.fullmatch(bare):
        kind = Kind.COMMIT if word in {"COMMIT", "END"} else Kind.ROLLBACK
        return Statement(kind, kind.value, word)
    if enabling := _ENABLE.fullmatch(text):
        return _enabling(enabling[1].lower() in {"on", "true"}, version)
    return Statement(Kind.OTHER, text, word) if word in _PASSING else None


def _refuse_words(bare: str, word: str) -> None:
    for pattern, message in _WORDS:
        if re.match(pattern, bare, re.IGNORECASE) and not _BEGIN.fullmatch(bare):
            state = SYNTAX_ERROR if message.startswith("syntax") else NOT_SUPPORTED
            raise RefusalError(message.format(word=word), state)
    if found := _FUNCTIONS.search(bare):
        raise RefusalError(f"function {found[0].rstrip('( ')} is not supported")
    if _COLLATE.search(bare):
        raise RefusalError("COLLATE is not supported")


def _enabling(on: bool, version: Version) -> Statement:  # noqa: FBT001 - a value that was parsed
    if version < (2, 0):  # [doc] mixed DML transactions: V2.0 and later; the error's text is [assumed]
        raise RefusalError('unrecognized configuration parameter "hg_experimental_enable_transaction"', "42704")
    return Statement(Kind.OTHER, f"SET hologres.enable_transaction = '{'on' if on else 'off'}'", "SET")


def _copy(text: str) -> Statement:
    found = _COPY.fullmatch(text)
    if not found:  # [doc] only COPY table FROM STDIN and COPY (query) TO STDOUT
        if re.fullmatch(r"COPY\s*\(.*\)\s*TO\s+STDOUT.*", text, re.IGNORECASE | re.DOTALL):
            return Statement(Kind.SELECT, text, "COPY")
        raise RefusalError("COPY supports only COPY table FROM STDIN and COPY (query) TO STDOUT")
    for option in re.findall(r"[(,]\s*(\w+)", found["options"] or ""):
        if option.upper() not in _COPY_OPTIONS:  # [doc] FREEZE is none of them
            raise RefusalError(f'option "{option}" not recognized', SYNTAX_ERROR)
    return Statement(Kind.COPY, text, "COPY", (found["table"],), found["table"])


# --- queries and DML ---


def _query(text: str, word: str) -> Statement:
    tree = parsed(text)
    tables = _tables(tree)
    if isinstance(tree, exp.Insert | exp.Update | exp.Delete):
        _refuse_returning(tree)
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        return Statement(Kind.DML, text, word, tables, table_name(target), _conflict(tree), _sets(tree))
    if isinstance(tree, exp.Query):
        _refuse_query(tree)
        return Statement(Kind.SELECT, _answered(text), word, tables)
    raise RefusalError(f"{word} is not supported")


def _refuse_returning(tree: exp.Expr) -> None:
    if tree.find(exp.Returning):
        raise RefusalError("RETURNING is not supported")  # [assumed]


def _refuse_query(tree: exp.Expr) -> None:
    if tree.find(exp.Lock):
        raise RefusalError("SELECT FOR UPDATE is not supported")  # [doc] LOCKING
    if any(item.args.get("nulls_first") is not None and _spelled(item) for item in tree.find_all(exp.Ordered)):
        raise RefusalError("NULLS FIRST/LAST is not supported")  # [doc]
    with_ = tree.args.get("with_") or tree.args.get("with")
    if with_ is not None and with_.args.get("recursive"):
        raise RefusalError("WITH RECURSIVE is not supported")  # [doc]
    if tree.find(exp.Intersect, exp.Except):
        raise RefusalError("INTERSECT and EXCEPT are not supported")  # [doc]


def _spelled(item: exp.Expr) -> bool:
    return "NULLS" in item.sql("postgres").upper()


def _tables(tree: exp.Expr) -> tuple[str, ...]:
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    found = [
        table_name(table)
        for table in tree.find_all(exp.Table)
        if table.name and table.db not in SYSTEM_SCHEMAS and (table.db or table.name not in ctes)
        and not isinstance(table.this, exp.Func)
    ]  # fmt: skip
    return tuple(dict.fromkeys(found))


def _conflict(tree: exp.Expr) -> tuple[str, ...]:
    clause = tree.args.get("conflict")
    if clause is None:
        return ()
    keys = clause.args.get("conflict_keys") or []
    return tuple(key.name for key in keys) or ("",)


def _sets(tree: exp.Expr) -> tuple[str, ...]:
    clause = tree.args.get("conflict")
    source = clause if clause is not None else tree
    return tuple(item.this.name for item in source.args.get("expressions") or () if isinstance(item, exp.EQ))


_FORMAT_TYPE = re.compile(r"pg_catalog\.format_type\(([^()]*)\)")


def _answered(text: str) -> str:
    """Catalog queries show the milliseconds' type as Hologres declares it."""
    return _FORMAT_TYPE.sub(
        r"pg_catalog.replace(pg_catalog.format_type(\1), 'timestamp(3) with', 'timestamp with')", text
    )
