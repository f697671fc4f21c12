"""What can be read from a MySQL or MariaDB server, and what is missing where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from airflow_elt_provider.connectors.mysql.session import MySqlSession, translate
from airflow_elt_provider.connectors.mysql.snapshot import open_relation
from airflow_elt_provider.core.doctor import Finding, Inquiry, cursor_unknown, note, ok, problem, refused, unknowable
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import EltError

CAPTURES: Final = frozenset({"full", "cursor", "fingerprint"})
_USER: Final = "SELECT CURRENT_USER()"
_CIPHER: Final = "SHOW SESSION STATUS LIKE 'Ssl_cipher'"
_Opener = Callable[[], AbstractContextManager[MySqlSession]]


def readable(open_session: _Opener, inquiry: Inquiry) -> Iterator[Finding]:
    """Check connection, tables and captures; nothing is changed."""
    with open_session() as session, translate("asking the server who we are"):
        yield ok("connect", f"{session.server} at {session.settings}, as {session.one(_USER)[0]}")
        cipher = session.one(_CIPHER)[1]
        yield ok("TLS", cipher) if cipher else note("TLS", "none: the connection can be listened to unless it is local")
    for name in sorted(inquiry.captures - CAPTURES):
        yield problem(f"capture {name}", "MySQL is not read so", f"use one of {', '.join(sorted(CAPTURES))}")
    if not inquiry.tables:
        yield from unknowable(inquiry.captures & {"cursor", "fingerprint"})
    for table in inquiry.tables:
        with open_session() as session:
            yield from _table(session, table, inquiry)


def _table(session: MySqlSession, table: TableRef, inquiry: Inquiry) -> Iterator[Finding]:
    try:
        relation, _ = open_relation(session, Extraction(stream="doctor", table=table))
        with translate(f"reading {table}"):
            session.rows(f"SELECT 1 FROM {relation.from_item} LIMIT 1")
    except EltError as error:
        yield refused(f"{table}: read", error)
        return
    yield ok(f"{table}: read", f"{relation.kind} of {len(relation.columns)} columns")
    if "cursor" in inquiry.captures:
        yield cursor_unknown(table)
    if relation.unsteady:
        yield note(f"{table}: snapshot", f"engine {relation.engine} keeps none", "ALTER TABLE ... ENGINE = InnoDB")
    if relation.keys:
        yield ok(f"{table}: key", ", ".join(relation.keys[0]))
        yield ok(f"{table}: capture fingerprint", "possible; finds deletes")
        return
    yield note(f"{table}: key", "none: mode='merge' and 'history' need one", "name columns with primary_key=[...]")
    told = problem if "fingerprint" in inquiry.captures else note
    yield told(f"{table}: capture fingerprint", "not possible without a key", "name columns with primary_key=[...]")
