"""The wire of the stand-in for Databricks: the service that databricks-sql-connector's own generated code calls.

Sessions, statements that run in threads of their own, direct results, Arrow batches, paging, cancelling: as a SQL
warehouse does them, in protocol version 8.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes as T  # noqa: N812 - the generated code's own habit
from thrift.transport.TTransport import TTransportException

from servers.databricks_delta import SqlError
from servers.databricks_sql import Place, Warehouse

DIRECT_SECONDS: Final = 1.0
"""How long a statement may take before its handle is returned without its results."""
POLL_SECONDS: Final = 0.2
PAGE: Final = 10_000
_STAGING: Final = re.compile(r"(?:\s*/\*.*?\*/)*\s*(?:PUT|REMOVE)\b", re.DOTALL)
_VERSION: Final = T.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V8
_TYPES: Final = (
    (pa.types.is_boolean, "BOOLEAN_TYPE"), (pa.types.is_int8, "TINYINT_TYPE"), (pa.types.is_int16, "SMALLINT_TYPE"),
    (pa.types.is_int32, "INT_TYPE"), (pa.types.is_int64, "BIGINT_TYPE"), (pa.types.is_float32, "FLOAT_TYPE"),
    (pa.types.is_float64, "DOUBLE_TYPE"), (pa.types.is_decimal, "DECIMAL_TYPE"), (pa.types.is_date, "DATE_TYPE"),
    (pa.types.is_timestamp, "TIMESTAMP_TYPE"), (pa.types.is_binary, "BINARY_TYPE"), (pa.types.is_list, "ARRAY_TYPE"),
    (pa.types.is_map, "MAP_TYPE"), (pa.types.is_struct, "STRUCT_TYPE"), (pa.types.is_null, "NULL_TYPE"),
)  # fmt: skip


class Dropped(TTransportException):
    """The connection ends without an answer."""


class Refused(TTransportException):
    """The answer is an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(message=str(status))
        self.status = status


@dataclass
class Fault:
    """What happens to statements that match `pattern`, `times` times after `skip` of them have passed.

    `error` is the text of an SQL error with `state`; `status` an HTTP status; `drop` ends the connection "before" the
    statement or "after" it; `seconds` lets it run so long; `cancelled` ends it as an administrator does.
    """

    pattern: str
    error: str = ""
    state: str = ""
    status: int = 0
    drop: str = ""
    seconds: float = 0.0
    cancelled: bool = False
    times: int = 1
    skip: int = 0

    def takes(self, statement: str) -> bool:
        """Whether it happens to this statement; counts."""
        if self.times < 1 or not re.search(self.pattern, statement, re.DOTALL):
            return False
        self.skip -= 1
        self.times -= self.skip < 0
        return self.skip < 0


@dataclass
class Operation:
    """A statement and what became of it."""

    rows: pa.Table | None = None
    error: SqlError | None = None
    done: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    staging: bool = False

    def run(self, warehouse: Warehouse, statement: str, values: list[Any], place: Place, seconds: float) -> None:
        """Run to the end, or until it is cancelled before it began in earnest."""
        try:
            if not self.cancelled.wait(seconds):
                self.rows = warehouse.run(statement, values, place)
        except SqlError as error:
            self.error = error
        finally:
            self.done.set()

    def status(self) -> T.TGetOperationStatusResp:
        """Where it stands."""
        if not self.done.is_set() and not self.cancelled.is_set():
            return T.TGetOperationStatusResp(status=_ok(), operationState=T.TOperationState.RUNNING_STATE)
        if self.cancelled.is_set():
            return T.TGetOperationStatusResp(status=_ok(), operationState=T.TOperationState.CANCELED_STATE)
        if self.error is None:
            return T.TGetOperationStatusResp(
                status=_ok(), operationState=T.TOperationState.FINISHED_STATE, hasResultSet=True
            )
        return T.TGetOperationStatusResp(
            status=_ok(), operationState=T.TOperationState.ERROR_STATE, sqlState=self.error.state, errorCode=0,
            errorMessage=str(self.error), displayMessage=str(self.error),
        )  # fmt: skip

    def describe(self) -> T.TGetResultSetMetadataResp:
        """What its rows look like."""
        schema = self._table.schema
        columns = [
            T.TColumnDesc(columnName=each.name, typeDesc=_type(each.type), position=at)
            for at, each in enumerate(schema, 1)
        ]
        return T.TGetResultSetMetadataResp(
            status=_ok(), schema=T.TTableSchema(columns=columns), resultFormat=T.TSparkRowSetType.ARROW_BASED_SET,
            lz4Compressed=False, arrowSchema=schema.serialize().to_pybytes(), isStagingOperation=self.staging,
        )  # fmt: skip

    def page(self, most: int) -> T.TFetchResultsResp:
        """The next rows."""
        part, start = self._table.slice(self.sent, most), self.sent
        self.sent += part.num_rows
        batches = [
            T.TSparkArrowBatch(batch=each.serialize().to_pybytes(), rowCount=each.num_rows)
            for each in part.combine_chunks().to_batches()
        ]
        return T.TFetchResultsResp(
            status=_ok(), hasMoreRows=self.sent < self._table.num_rows, resultSetMetadata=self.describe(),
            results=T.TRowSet(startRowOffset=start, rows=[], arrowBatches=batches),
        )  # fmt: skip

    @property
    def _table(self) -> pa.Table:
        return pa.table({}) if self.rows is None else self.rows


class Service:
    """The methods of TCLIService that the connector calls, on one warehouse; their names are the protocol's."""

    def __init__(self, warehouse: Warehouse, faults: list[Fault], statements: list[str]) -> None:
        self._warehouse, self._faults, self._statements = warehouse, faults, statements
        self._operations: dict[bytes, Operation] = {}
        self._places: dict[bytes, Place] = {}

    def OpenSession(self, request: T.TOpenSessionReq) -> T.TOpenSessionResp:  # noqa: N802
        given = request.initialNamespace
        handle = T.TSessionHandle(sessionId=_handle(), serverProtocolVersion=_VERSION)
        place = Place()
        if given:
            place = Place(given.catalogName or place.catalog, given.schemaName or place.schema)
        self._places[handle.sessionId.guid] = place
        return T.TOpenSessionResp(
            status=_ok(), serverProtocolVersion=_VERSION, sessionHandle=handle, configuration={},
            initialNamespace=given, canUseMultipleCatalogs=True,
        )  # fmt: skip

    def CloseSession(self, request: T.TCloseSessionReq) -> T.TCloseSessionResp:  # noqa: N802
        self._places.pop(request.sessionHandle.sessionId.guid, None)
        return T.TCloseSessionResp(status=_ok())

    def ExecuteStatement(self, request: T.TExecuteStatementReq) -> T.TExecuteStatementResp:  # noqa: N802
        statement = request.statement
        self._statements.append(statement)
        fault = next((each for each in self._faults if each.takes(statement)), Fault(""))
        if fault.status:
            raise Refused(fault.status)
        if fault.drop == "before":
            raise Dropped
        operation, handle = Operation(staging=bool(_STAGING.match(statement))), _handle()
        self._operations[handle.guid] = operation
        if fault.cancelled:
            operation.cancelled.set()
            operation.done.set()
        elif fault.error:
            operation.error = SqlError("", "", fault.state)
            operation.error.args = (fault.error,)
            operation.done.set()
        else:
            self._start(operation, request, fault.seconds)
        if fault.drop == "after":
            operation.done.wait()
            raise Dropped
        return self._answer(operation, handle, request)

    def _start(self, operation: Operation, request: T.TExecuteStatementReq, seconds: float) -> None:
        place = self._places.get(request.sessionHandle.sessionId.guid, Place())
        values = [_value(each) for each in request.parameters or []]
        what = (self._warehouse, request.statement, values, place, seconds)
        threading.Thread(target=operation.run, args=what, daemon=True).start()
        operation.done.wait(DIRECT_SECONDS)

    def _answer(
        self, operation: Operation, identifier: T.THandleIdentifier, request: T.TExecuteStatementReq
    ) -> T.TExecuteStatementResp:
        handle = T.TOperationHandle(
            operationId=identifier, operationType=T.TOperationType.EXECUTE_STATEMENT, hasResultSet=True
        )
        direct = T.TSparkDirectResults(operationStatus=operation.status())
        if operation.done.is_set():
            if operation.error is None:
                most = (request.getDirectResults and request.getDirectResults.maxRows) or PAGE
                direct.resultSetMetadata, direct.resultSet = operation.describe(), operation.page(most)
            if operation.error or not direct.resultSet.hasMoreRows:
                direct.closeOperation = T.TCloseOperationResp(status=_ok())
                self._operations.pop(identifier.guid)
        return T.TExecuteStatementResp(status=_ok(), operationHandle=handle, directResults=direct)

    def GetOperationStatus(self, request: T.TGetOperationStatusReq) -> T.TGetOperationStatusResp:  # noqa: N802
        operation = self._of(request)
        operation.done.wait(POLL_SECONDS)
        return operation.status()

    def GetResultSetMetadata(self, request: T.TGetResultSetMetadataReq) -> T.TGetResultSetMetadataResp:  # noqa: N802
        return self._of(request).describe()

    def FetchResults(self, request: T.TFetchResultsReq) -> T.TFetchResultsResp:  # noqa: N802
        return self._of(request).page(request.maxRows or PAGE)

    def CloseOperation(self, request: T.TCloseOperationReq) -> T.TCloseOperationResp:  # noqa: N802
        self._operations.pop(request.operationHandle.operationId.guid, None)
        return T.TCloseOperationResp(status=_ok())

    def CancelOperation(self, request: T.TCancelOperationReq) -> T.TCancelOperationResp:  # noqa: N802
        self._of(request).cancelled.set()
        return T.TCancelOperationResp(status=_ok())

    def _of(self, request: Any) -> Operation:
        return self._operations[request.operationHandle.operationId.guid]


def _ok() -> T.TStatus:
    return T.TStatus(statusCode=T.TStatusCode.SUCCESS_STATUS)


def _handle() -> T.THandleIdentifier:
    return T.THandleIdentifier(guid=uuid4().bytes, secret=uuid4().bytes)


def _type(kind: pa.DataType) -> T.TTypeDesc:
    name = next((name for fits, name in _TYPES if fits(kind)), "STRING_TYPE")
    qualifiers = None
    if name == "DECIMAL_TYPE":
        numbers = {"precision": kind.precision, "scale": kind.scale}
        qualifiers = T.TTypeQualifiers(
            qualifiers={key: T.TTypeQualifierValue(i32Value=value) for key, value in numbers.items()}
        )
    entry = T.TPrimitiveTypeEntry(type=getattr(T.TTypeId, name), typeQualifiers=qualifiers)
    return T.TTypeDesc(types=[T.TTypeEntry(primitiveEntry=entry)])


def _value(parameter: T.TSparkParameter) -> Any:
    if parameter.value is None:
        return None
    text = parameter.value.stringValue
    if parameter.type in {"INT", "BIGINT", "SMALLINT", "TINYINT"}:
        return int(text)
    return float(text) if parameter.type in {"FLOAT", "DOUBLE"} else text
