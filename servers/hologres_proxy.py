"""A proxy that makes PostgreSQL behave as Hologres does, as far as a client that loads tables can tell.

It reads each statement (psycopg2 sends them as simple queries; the extended protocol is refused), refuses what
`hologres_sql.py` says Hologres lacks, and keeps Hologres' transactions:

* [doc] Without `SET hg_experimental_enable_transaction = on` a DML statement is committed at once, inside BEGIN too:
  a later ROLLBACK brings nothing back.
* [doc] With it (V2.0 and later) DML statements are one transaction, in which every table written to or read is
  locked until its end: other such transactions wait.
* [doc] DDL and DML do not mix in one transaction; several DDL statements may share one.  [assumed] So do reads of
  tables after DDL, and COPY together with anything.
* [doc] A DML statement that is cancelled in a transaction which is then rolled back leaves its tables locked.  Here
  they are only listed in `leaked`.
* [doc] INSERT ON CONFLICT names the whole primary key.  [assumed] A primary key's columns cannot be updated.
* [doc] TIMESTAMPTZ keeps milliseconds; a duplicate key within one INSERT ON CONFLICT is an error (PostgreSQL's own).

It says it is PostgreSQL 11.3, and answers `hg_version()`.  `set_table_property` is a procedure of the database, see
`hologres.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servers.event_loop import BUFFER, LoopbackServer, reset
from servers.hologres_ddl import refuse_conversion
from servers.hologres_sql import examine
from servers.hologres_statement import Kind, RefusalError, Statement, Version
from servers.processes import LOOPBACK

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

NEGOTIATIONS = (80877103, 80877104)  # SSLRequest, GSSENCRequest
CANCEL_REQUEST = 80877102
POSTGRES_VERSION = b"11.3"
CANCELLED = "57014"
_VERSION_CALL = re.compile(r"(?:pg_catalog\.)?\bhg_version\s*\(\s*\)", re.IGNORECASE)
_KEY = """
SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
WHERE i.indrelid = pg_catalog.to_regclass({}) AND i.indisprimary AND a.attnum = ANY(i.indkey)"""
_TYPE = """
SELECT pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
WHERE attrelid = pg_catalog.to_regclass({}) AND attname = {}"""


def literal(text: str) -> str:
    """Quote a string constant."""
    return "'" + text.replace("'", "''") + "'"


def message(kind: bytes, body: bytes) -> bytes:
    """Frame a message."""
    return kind + (len(body) + 4).to_bytes(4) + body


@dataclass
class Answer:
    """What PostgreSQL answered to a statement of our own."""

    messages: list[tuple[bytes, bytes]]

    @property
    def error(self) -> bytes | None:
        """The body of the error, if it was one."""
        return next((body for kind, body in self.messages if kind == b"E"), None)

    @property
    def values(self) -> list[str]:
        """The first column of the rows."""
        return [body[6 : 6 + int.from_bytes(body[2:6])].decode() for kind, body in self.messages if kind == b"D"]


@dataclass
class Session:
    """One client's connection."""

    client_reader: StreamReader
    client: StreamWriter
    server_reader: StreamReader
    server: StreamWriter
    status: bytes = b"I"  # PostgreSQL's: idle, in a transaction, in a failed one
    mixed: set[Kind] = field(default_factory=set)  # what the transaction has done so far
    locked: set[str] = field(default_factory=set)
    enabled: bool = False
    cancelled: set[str] = field(default_factory=set)  # tables of a DML statement that was cancelled in this transaction

    @property
    def in_transaction(self) -> bool:
        """Whether the client has begun one."""
        return self.status != b"I"


class HologresProxy(LoopbackServer):
    """Stands before a PostgreSQL server; `version` is the Hologres version that it plays."""

    def __init__(self, upstream_port: int, version: str = "2.2.14") -> None:
        """Describe it; `start()` or `with` opens its port."""
        super().__init__()
        self.upstream_port = upstream_port
        self.version_text = version
        self.version: Version = tuple(int(part) for part in version.split("."))
        self.statements: list[str] = []  # all that came
        self.refused: list[tuple[str, str]] = []  # statement, message
        self.leaked: list[str] = []  # tables that stay locked

    # --- a connection ---

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection(LOOPBACK, self.upstream_port, limit=BUFFER)
        except OSError:
            reset(writer)
            return
        # asyncio does so itself only for sockets that were made with the protocol's number.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(reader, writer, server_reader, server)
        try:
            if await self._log_in(session):
                await self._talk(session)
        finally:
            server.close()

    async def _log_in(self, session: Session) -> bool:
        while True:
            size = int.from_bytes(await session.client_reader.readexactly(4))
            body = await session.client_reader.readexactly(size - 4)
            code = int.from_bytes(body[:4])
            if code not in NEGOTIATIONS:
                break
            session.client.write(b"N")
        session.server.write(size.to_bytes(4) + body)
        if code == CANCEL_REQUEST:
            await session.server.drain()
            await session.server_reader.read()
            return False
        while True:
            kind, body = await receive(session.server_reader)
            if kind == b"S" and body.startswith(b"server_version\0"):
                body = b"server_version\0" + POSTGRES_VERSION + b"\0"
            session.client.write(message(kind, body))
            if kind == b"Z":
                return True
            if kind == b"R" and int.from_bytes(body[:4]) not in {0, 12}:
                await session.client.drain()
                session.server.write(message(*await receive(session.client_reader)))

    async def _talk(self, session: Session) -> None:
        while True:
            await session.client.drain()
            kind, body = await receive(session.client_reader)
            if kind == b"X":
                return
            if kind != b"Q":
                raise ConnectionAbortedError("this emulator takes simple queries only")
            await self._query(session, body[:-1].decode())

    # --- a statement ---

    async def _query(self, session: Session, sql: str) -> None:
        self.statements.append(sql)
        try:
            statement = examine(_VERSION_CALL.sub(literal(self._answer_version()), sql), self.version)
            await self._refuse_here(session, statement)
        except RefusalError as refusal:
            self.refused.append((sql, refusal.message))
            await self._refuse(session, refusal)
            return
        if not await self._lock(session, statement):
            return
        code, ready = await self._relay(session, statement.sql)
        await self._after(session, statement, code)
        session.client.write(ready)

    def _answer_version(self) -> str:
        text = self.version_text
        return f"Hologres {text} (tag: {text} build: Release), compatible with PostgreSQL 11.3 on x86_64-pc-linux-gnu"

    async def _refuse_here(self, session: Session, statement: Statement) -> None:
        """Refuse what depends on the transaction, or on the table."""
        if session.status == b"T":
            done = session.mixed
            if Kind.DDL in done and statement.kind in {Kind.DML, Kind.COPY}:
                raise RefusalError(f"{statement.word} in ddl transaction is not supported now")
            if Kind.DDL in done and statement.kind is Kind.SELECT and statement.tables:
                raise RefusalError("SELECT in ddl transaction is not supported now")
            if done - {Kind.DDL} and statement.kind is Kind.DDL:
                raise RefusalError(f"{statement.word} in dml transaction is not supported now")
            if statement.kind is Kind.COPY and session.enabled:
                raise RefusalError("COPY in a DML transaction is not supported")
        if statement.written and (statement.conflict or statement.sets) and session.status != b"E":
            await self._refuse_key(session, statement)
        if statement.converts:
            table, column, new = statement.converts
            for current in (await ask(session, _TYPE.format(literal(table), literal(column)))).values:
                refuse_conversion(current, new)

    async def _refuse_key(self, session: Session, statement: Statement) -> None:
        key = set((await ask(session, _KEY.format(literal(statement.written)))).values)
        if statement.conflict and statement.conflict != ("",) and set(statement.conflict) != key:
            raise RefusalError("INSERT on conflict contains un-unique column")
        if key & set(statement.sets) and not statement.conflict:
            raise RefusalError("Update primary key is not supported")

    async def _refuse(self, session: Session, refusal: RefusalError) -> None:
        fields = {"S": "ERROR", "V": "ERROR", "C": refusal.sqlstate, "M": refusal.message}
        body = b"".join(f"{name}{text}\0".encode() for name, text in fields.items()) + b"\0"
        session.client.write(message(b"E", body))
        if session.in_transaction:  # the transaction has failed, as after any error
            await ask(session, "SELECT 1/0")
        session.client.write(message(b"Z", session.status))

    async def _lock(self, session: Session, statement: Statement) -> bool:
        """Lock the tables of a statement in a DML transaction; False where that failed and the client was told."""
        if not (session.enabled and session.status == b"T" and statement.kind in {Kind.DML, Kind.SELECT}):
            return True
        tables = [table for table in statement.tables if table not in session.locked]
        if not tables:
            return True
        answer = await ask(session, f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
        if answer.error is None:
            session.locked.update(tables)
            return True
        session.client.write(message(b"E", answer.error) + message(b"Z", session.status))
        return False

    async def _after(self, session: Session, statement: Statement, code: str) -> None:
        if code == CANCELLED and statement.kind is Kind.DML and session.enabled and session.in_transaction:
            session.cancelled.update(statement.tables)
        if statement.sql.startswith("SET hologres.enable_transaction") and not code:
            session.enabled = "'on'" in statement.sql
        if not session.in_transaction:
            self.leaked += sorted(session.cancelled)
            for kept in (session.mixed, session.locked, session.cancelled):
                kept.clear()
        elif not code:
            await self._go_on(session, statement)

    async def _go_on(self, session: Session, statement: Statement) -> None:
        """Keep what the transaction has done; without the setting, what was written counts already."""
        if statement.kind in {Kind.DDL, Kind.DML, Kind.COPY}:
            session.mixed.add(statement.kind)
        if statement.kind is Kind.SELECT and statement.tables and session.enabled:
            session.mixed.add(statement.kind)
        if statement.kind in {Kind.DML, Kind.COPY} and not session.enabled:
            await ask(session, "COMMIT")
            await ask(session, "BEGIN")

    # --- to and fro ---

    async def _relay(self, session: Session, sql: str) -> tuple[str, bytes]:
        """Let PostgreSQL run a statement and the client have the answer, except its end.

        Return the SQLSTATE of an error, and the end.
        """
        session.server.write(message(b"Q", sql.encode() + b"\0"))
        code = ""
        while True:
            kind, body = await receive(session.server_reader)
            if kind == b"Z":
                session.status = body
                return code, message(kind, body)
            if kind == b"E":
                code = sqlstate(body)
            session.client.write(message(kind, body))
            await session.client.drain()
            if kind == b"G":
                await self._copy_in(session)

    async def _copy_in(self, session: Session) -> None:
        while True:
            kind, body = await receive(session.client_reader)
            session.server.write(message(kind, body))
            await session.server.drain()
            if kind in {b"c", b"f"}:
                return


async def receive(reader: StreamReader) -> tuple[bytes, bytes]:
    """Read one message."""
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(int.from_bytes(head[1:]) - 4)


async def ask(session: Session, sql: str) -> Answer:
    """Run a statement of our own; the client sees nothing of it."""
    session.server.write(message(b"Q", sql.encode() + b"\0"))
    messages: list[tuple[bytes, bytes]] = []
    while True:
        kind, body = await receive(session.server_reader)
        if kind == b"Z":
            session.status = body
            return Answer(messages)
        messages.append((kind, body))


def sqlstate(body: bytes) -> str:
    """Return the SQLSTATE of an error."""
    fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
    with contextlib.suppress(UnicodeDecodeError):
        return fields.get(b"C", b"").decode()
    return ""
