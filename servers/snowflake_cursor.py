# ruff: noqa: SLF001 - it reaches into the emulator to correct it
"""What fakesnow's cursor gets wrong, or lacks, put right; in the emulator's environment, see `snowflake_launch.py`.

* UPDATE, DELETE and MERGE lock their table until the transaction ends; whoever waits sees what was committed
  meanwhile, as READ COMMITTED has it.  DuckDB lets the second writer fail instead.  Once a transaction has written,
  what others commit is not seen any more: that stays wrong.
* MERGE is DuckDB's own, which refuses a row that matches twice.  fakesnow's takes any of them.
* DDL in a transaction is an error here.  Snowflake commits the transaction, and our code must never let it.
* Without AUTOCOMMIT the first DML begins a transaction.  CURRENT_TRANSACTION tells it.  One that is idle and in the way
  is ended, and the next statement fails; with the session parameter ELT_TEST_SILENT that statement runs.
* EXECUTE IMMEDIATE of a block, REMOVE, DESCRIBE STAGE, SYSTEM$CANCEL_ALL_QUERIES, and QUERY_HISTORY with query tags.
* Errors of DuckDB that fakesnow lets through become errors as Snowflake numbers them.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import fakesnow.conn
import fakesnow.copy_into
import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.dialect import parse_one
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from servers import snowflake_clustering
from servers.snowflake_corrections import correct, corrected
from servers.snowflake_locks import LockTimeoutError, Session, TableLocks

LOCK_SECONDS: Final = 20.0
LOCKS: Final = TableLocks()
_WRITES: Final = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Copy)
_LOCKING: Final = (exp.Update, exp.Delete, exp.Merge)
_DDL: Final = (exp.Create, exp.Alter, exp.Drop)
_ERRORS: Final[tuple[tuple[type[duckdb.Error], int, str], ...]] = (
    (duckdb.InterruptException, 604, "57014"),
    (duckdb.ConversionException, 100038, "22018"),
    (duckdb.OutOfRangeException, 100039, "22003"),
    (duckdb.ConstraintException, 100072, "22000"),
    (duckdb.IOException, 91016, "22000"),
    (duckdb.HTTPException, 91016, "22000"),
    (duckdb.TransactionException, 625, "57014"),
)


@dataclass(frozen=True)
class Asked:
    """A statement as it arrived."""

    text: str
    tag: str
    session: int


SESSIONS: Final[dict[int, Session]] = {}
HISTORY: Final[deque[Asked]] = deque(maxlen=10_000)
_numbers = itertools.count(1)
_one_at_a_time = threading.Lock()


class Cursor(FakeSnowflakeCursor):
    """A cursor that behaves more like Snowflake's."""

    def execute(self, command: str, params: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Run a statement."""
        session: Session = self._conn.session
        HISTORY.append(Asked(command, session.tag, session.number))
        with _running(session):
            if session.aborted:
                session.aborted = False
                raise ProgrammingError(msg="Your transaction was aborted: it was idle.", errno=90149, sqlstate="22000")
            try:
                return self._special(command) or self._statement(session, command, params, *args, **kwargs)
            except LockTimeoutError as error:
                text = f"Statement was aborted because it waited too long for a lock on {error}."
                raise ProgrammingError(msg=text, errno=625, sqlstate="57014") from None
            except FileNotFoundError as error:
                raise ProgrammingError(msg=f"Remote file '{error}' was not found.", errno=91016) from None
            except PermissionError as error:
                text = f"Failure using stage area. Cause: [Access Denied (Status Code: 403)] {error}"
                raise ProgrammingError(msg=text, errno=91003) from None
            except duckdb.Error as error:
                raise _translated(error) from None
            except ProgrammingError as error:
                raise _numbered(error) from None
            except Exception as error:  # an answer with status 500 would only be asked for again
                raise ProgrammingError(msg=f"{type(error).__name__}: {error}", errno=603, sqlstate="XX000") from error

    def _statement(self, session: Session, command: str, params: Any, *args: Any, **kwargs: Any) -> Any:
        expression = parse_one(command)
        if isinstance(expression, exp.Transaction):
            session.begin()
            return self._succeed()
        if isinstance(expression, exp.Commit | exp.Rollback):
            session.end(commit=isinstance(expression, exp.Commit))
            LOCKS.release(session)
            return self._succeed()
        if isinstance(expression, _DDL) and session.begun:
            raise ProgrammingError(msg=f"DDL in a transaction would commit it: {command}", errno=2, sqlstate="25000")
        if isinstance(expression, _DDL):
            with _one_at_a_time:  # fakesnow's own notes of tables know no two writers
                return super().execute(command, params, *args, **kwargs)
        if isinstance(expression, _WRITES) and not session.autocommit:
            session.begin()
        try:
            if isinstance(expression, _LOCKING):
                LOCKS.take(_table(expression), session, LOCK_SECONDS)
            if isinstance(expression, _WRITES) and session.begun and not session.writing:
                self._duck_conn.begin()  # only now: until here every statement saw what was committed before it
                session.writing = True
            if isinstance(expression, exp.Merge):
                return self._merge(expression, kwargs.get("binding_params"))
            return super().execute(command, params, *args, **kwargs)
        finally:
            if not session.begun:
                LOCKS.release(session)

    def _merge(self, expression: exp.Merge, params: Any) -> Any:
        whens = [when.args["then"] for when in expression.args["whens"].expressions]
        sql = self._transform(expression, None).sql(dialect="duckdb")
        try:
            done = [row[0] for row in self._duck_conn.execute(f"{sql} RETURNING merge_action", params).fetchall()]
        except duckdb.InvalidInputException as error:
            if "more than once" not in str(error):
                raise
            raise ProgrammingError(msg=f"Duplicate row detected during DML action: {error}", errno=100090) from None
        kinds = {exp.Insert: ("INSERT", "inserted"), exp.Update: ("UPDATE", "updated"), exp.Var: ("DELETE", "deleted")}
        found = {kinds[type(when)] for when in whens}
        counts = (f'{done.count(action)} AS "number of rows {name}"' for action, name in sorted(found, reverse=False))
        return self._answer(f"SELECT {', '.join(counts)}")

    def _transform(self, expression: Any, params: Any) -> Any:
        return super()._transform(corrected(expression), params)

    # --- statements that fakesnow does not know ---

    def _special(self, command: str) -> Any:
        if snowflake_clustering.note(command):
            return self._succeed()
        for pattern, method in _SPECIAL:
            if found := re.match(pattern, command, re.IGNORECASE | re.DOTALL):
                return getattr(self, method)(*found.groups())
        return None

    def _tag(self, literal: str) -> Any:
        self._conn.session.tag = _text(literal)
        return self._succeed()

    def _autocommit(self, on: str) -> Any:
        if self._conn.session.begun:
            raise ProgrammingError(msg="AUTOCOMMIT in a transaction would commit it", errno=2, sqlstate="25000")
        self._conn.session.autocommit = on.upper() == "TRUE"
        return self._succeed()

    def _transaction(self) -> Any:
        number = self._conn.session.transaction
        return self._answer(f'SELECT {f"{number}" if number else "NULL"}::VARCHAR AS "CURRENT_TRANSACTION()"')

    def _show(self, name: str, schema: str) -> Any:
        return self._answer(snowflake_clustering.shown(schema, name))

    def _immediate(self, literal: str) -> Any:
        block = _text(literal)
        statements = re.fullmatch(r"\s*BEGIN\s(.*);\s*END;?\s*", block, re.DOTALL)
        if statements is None:
            raise ProgrammingError(msg=f"no block: {block}", errno=1003, sqlstate="42000")
        for statement in sqlglot.parse(statements[1], read="snowflake"):
            self.execute(statement.sql(dialect="snowflake"), server=True)  # type: ignore[union-attr]
        return self._answer('SELECT NULL AS "anonymous block"')

    def _remove(self, place: str) -> Any:
        folder = Path(self._url(place))
        shutil.rmtree(folder, ignore_errors=True)
        return self._answer("SELECT 'removed' AS \"result\" WHERE false")

    def _describe_stage(self, name: str) -> Any:
        url = self._url(name)
        value = json.dumps([url]).replace("'", "''")
        return self._answer(
            "SELECT 'STAGE_LOCATION' AS \"parent_property\", 'URL' AS \"property\", 'String' AS \"property_type\", "
            f"'{value}' AS \"property_value\", '' AS \"property_default\""
        )

    def _cancel(self, number: str) -> Any:
        other = SESSIONS.get(int(number))
        if other and other.running:
            other.connection._duck_conn.interrupt()
        return self._answer(f"SELECT '{'1' if other else '0'} queries cancelled.' AS \"result\"")

    def _history(self) -> Any:
        rows = json.dumps([{"t": asked.text, "g": asked.tag, "s": asked.session} for asked in list(HISTORY)])
        self._duck_conn.execute("SELECT 1")
        literal = rows.replace("'", "''")
        return self._answer(
            "SELECT r->>'t' AS \"QUERY_TEXT\", r->>'g' AS \"QUERY_TAG\", CAST(r->>'s' AS BIGINT) AS \"SESSION_ID\" "
            f"FROM (SELECT unnest(CAST('{literal}' AS JSON[])) AS r)"
        )

    def _url(self, name: str) -> str:
        place = fakesnow.copy_into.stage_url_from_var(
            name, self._duck_conn, self._conn.database, self._conn.schema, self._conn.table_stages, exp.Table()
        )
        return str(place)

    # --- answers ---

    def _succeed(self) -> Any:
        return self._answer("SELECT 'Statement executed successfully.' AS \"status\"")

    def _answer(self, sql: str) -> Any:
        self._execute(sqlglot.parse_one(sql, read="duckdb"))
        return self


def _text(literal: str) -> str:
    return str(sqlglot.parse_one(f"SELECT {literal}", read="snowflake").expressions[0].name)


_SPECIAL: Final = (
    (r"ALTER SESSION SET QUERY_TAG = ('.*')\s*$", "_tag"),
    (r"ALTER SESSION SET AUTOCOMMIT = (TRUE|FALSE)\s*$", "_autocommit"),
    (r"SELECT CURRENT_TRANSACTION\(\)\s*$", "_transaction"),
    (r"SHOW TABLES LIKE '(\w+)' IN SCHEMA (\S+)\s*$", "_show"),
    (r"EXECUTE IMMEDIATE\s+('.*')\s*$", "_immediate"),
    (r"REMOVE\s+'?@([^']+?)'?\s*$", "_remove"),
    (r"DESC(?:RIBE)? STAGE\s+(.*?)\s*$", "_describe_stage"),
    (r"SELECT SYSTEM\$CANCEL_ALL_QUERIES\((\d+)\)\s*$", "_cancel"),
    (r"SELECT .* FROM TABLE\(INFORMATION_SCHEMA\.QUERY_HISTORY\(\)\)\s*$", "_history"),
)


@contextmanager
def _running(session: Session) -> Iterator[None]:
    session.running += 1
    try:
        yield
    finally:
        session.running -= 1
        session.active = time.monotonic()


def _table(expression: exp.Expression) -> str:
    table = expression.this
    return ".".join(part.name for part in (table.this if isinstance(table, exp.Alias) else table).parts).upper()


def _translated(error: duckdb.Error) -> ProgrammingError:
    text = str(error).split("\n\nLINE")[0]
    if isinstance(error, duckdb.CatalogException) and "does not exist" in text:
        return ProgrammingError(msg=text, errno=2003, sqlstate="02000")
    number, state = next(((n, s) for kind, n, s in _ERRORS if isinstance(error, kind)), (2, "XX000"))
    return ProgrammingError(msg=text, errno=number, sqlstate=state)


def _numbered(error: ProgrammingError) -> ProgrammingError:
    """Tell a column that is not there from a schema: fakesnow says 2043 for both."""
    if error.errno == 2043 and "column" in str(error.msg):
        return ProgrammingError(msg=error.raw_msg, errno=904, sqlstate="42000")
    return error


# --- sessions ---


def install(module: Any) -> None:
    """Put these corrections into fakesnow's server."""
    fakesnow.conn.FakeSnowflakeCursor = Cursor  # type: ignore[misc]
    correct()
    known = {route.path: route for route in module.routes}

    async def login(request: Request) -> Response:
        told = await _body(request)
        answer = await module.login_request(request)
        content = json.loads(answer.body)
        connection = module.sessions[content["data"]["token"]]
        session = Session(connection, next(_numbers))
        parameters = told["data"].get("SESSION_PARAMETERS", {})
        session.tag, session.silent = str(parameters.get("QUERY_TAG", "")), bool(parameters.get("ELT_TEST_SILENT"))
        session.autocommit = bool(parameters.get("AUTOCOMMIT", True))
        connection.session = SESSIONS[session.number] = session
        content["data"]["sessionId"] = session.number
        return JSONResponse(content)

    async def session(request: Request) -> Response:
        leaving = bool(request.query_params.get("delete"))
        connection = module.sessions.get(module.to_token(request))
        answer = await module.session(request)
        if leaving and connection is not None:
            _leave(connection)
        return answer  # type: ignore[no-any-return]

    async def abort(request: Request) -> Response:
        connection = module.to_conn(module.to_token(request))
        if connection.session.running:
            connection._duck_conn.interrupt()
        return JSONResponse({"success": True})

    changed = {"/session/v1/login-request": login, "/session": session, "/queries/v1/abort-request": abort}
    module.app = Starlette(
        routes=[
            Route(path, changed[path], methods=["POST"]) if path in changed else route for path, route in known.items()
        ]
    )


async def _body(request: Request) -> Any:
    import gzip

    body = await request.body()
    return json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)


def _leave(connection: Any) -> None:
    """End a session as Snowflake does: what it did not commit is rolled back."""
    session = connection.session
    SESSIONS.pop(session.number, None)
    if session.running:
        connection._duck_conn.interrupt()
    session.end(commit=False)
    LOCKS.release(session)
    connection._duck_conn.close()
