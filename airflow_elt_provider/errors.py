"""Everything this package raises on purpose.

    EltError
    ├── ConfigurationError      change the DAG, the connection or a privilege, then clear the task
    ├── DataError               the data must not be merged as it is
    │   ├── SchemaDriftError        a schema change that ``on_schema_drift`` forbids
    │   ├── QuarantineExceededError more bad rows than ``max_quarantined_rows``
    │   ├── DeleteRatioError        more deletes than ``max_delete_ratio`` lets through
    │   └── StaleLoadError          somebody merged this stream since the load was extracted
    ├── RemoteSyncError         a remote sync ended without success, and the remote says that a retry may help
    ├── TransientError          the same call may go well later: let Airflow retry
    │   ├── RateLimitedError        ... after ``retry_after`` seconds
    │   ├── UnreachableError        the request never reached the server
    │   └── AnswerLostError         the request was sent, its answer never came: the server may have done it
    └── UncertainCommitError    the answer to COMMIT was lost and could not be asked for again

A message says the value and the place; ``hint`` says the remedy.
"""

from __future__ import annotations


class EltError(Exception):
    """Base of all errors of this package.

    :param message: what is wrong: the value and the place.
    :param hint: the remedy, as an instruction to the reader.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} Remedy: {self.hint}" if self.hint else self.message


class ConfigurationError(EltError):
    """The DAG, the connection or a privilege has to change before a retry can help."""


class DataError(EltError):
    """The data cannot be merged as it is; nothing was merged."""


class SchemaDriftError(DataError):
    """Source and target schema differ in a way that the drift policy forbids."""


class QuarantineExceededError(DataError):
    """More rows were quarantined than the load allows."""


class DeleteRatioError(DataError):
    """The load would delete a larger share of the target than it allows."""


class StaleLoadError(DataError):
    """The stream's checkpoint moved after this load was extracted, so merging it could lose or repeat rows."""


class TransientError(EltError):
    """A fault of the moment: a broken connection, a lock held by somebody else, a busy server."""


class RateLimitedError(TransientError):
    """A server asked us to come back later.

    :param retry_after: seconds to wait.
    """

    def __init__(self, message: str, *, retry_after: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class UnreachableError(TransientError):
    """A request that certainly was not carried out: no connection came about."""


class AnswerLostError(TransientError):
    """A request that may or may not have been carried out: it was sent, and the answer never came, or broke off."""


class RemoteSyncError(EltError):
    """A remote sync failed or was cancelled, for a reason that a retry may outlive."""


class UncertainCommitError(EltError):
    """COMMIT was sent, its answer was lost, and the receipt could not be read either.

    A retry of the same load is safe: it asks for the receipt first.
    """

    def __init__(self, load_id: str, *, hint: str = "") -> None:
        super().__init__(
            f"The answer to COMMIT of load {load_id} was lost.",
            hint=hint or "retry the task; it looks for the receipt of this load before it does anything",
        )
        self.load_id = load_id
