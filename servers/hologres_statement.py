"""A statement as the emulator of Hologres sees it, and how one is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

Version = tuple[int, ...]
NOT_SUPPORTED = "0A000"
SYNTAX_ERROR = "42601"


class RefusalError(Exception):
    """Hologres would not run this."""

    def __init__(self, message: str, sqlstate: str = NOT_SUPPORTED) -> None:
        """Say what Hologres says."""
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate


class Kind(Enum):
    """What a statement is, as far as transactions are concerned."""

    BEGIN = "BEGIN"
    COMMIT = "COMMIT"
    ROLLBACK = "ROLLBACK"
    DDL = "DDL"
    DML = "DML"
    COPY = "COPY"
    SELECT = "SELECT"
    OTHER = "OTHER"


@dataclass(frozen=True)
class Statement:
    """One statement that passes.

    `sql` is what PostgreSQL runs in its place, `word` its first word.  `conflict` are the columns of ON CONFLICT, with
    "" alone where it names none; `sets` those that an UPDATE or DO UPDATE sets; `written` the table that both speak of.
    `converts` are table, column and new type of an ALTER COLUMN TYPE.
    """

    kind: Kind
    sql: str
    word: str
    tables: tuple[str, ...] = ()
    written: str = ""
    conflict: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    converts: tuple[str, str, str] | None = None


_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_BIT_VARYING = re.compile(r"\bbit varying\b")  # which sqlglot does not know


def without_texts(sql: str) -> str:
    """Return a statement with nothing in its literals and quoted names, so that words in it are words."""
    return _QUOTED.sub(lambda found: "''" if found[0][0] == "'" else '""', sql)


def parsed(text: str) -> exp.Expr:
    """Parse one statement. :raises RefusalError: for what sqlglot does not understand."""
    try:
        return sqlglot.parse_one(_BIT_VARYING.sub("varbit", text), dialect="postgres")
    except SqlglotError as error:
        raise RefusalError(f"syntax error (the emulator cannot parse this): {error}", SYNTAX_ERROR) from error


def table_name(table: exp.Expr) -> str:
    """Return a table's name, each part quoted."""
    parts = [part for part in (table.args.get("db"), table.this) if part is not None]
    return ".".join('"' + part.name.replace('"', '""') + '"' for part in parts)
