"""What Google's errors mean, and what to do about them."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from airflow_elt_provider.errors import ConfigurationError, DataError, EltError, TransientError


class MissingError(ConfigurationError):
    """A dataset, table or job that is not there."""


class AbortedError(TransientError):
    """A transaction that another one's update of the same table aborted; nothing of it counts."""


_Kind = type[EltError]

_ABORTED: Final = re.compile(r"aborted due to concurrent|could not serialize access", re.IGNORECASE)
_FILE_GONE: Final = re.compile(
    r"Not found: (?:URI|Files?) (gs://\S+)|No files found that match the pattern \"([^\"]+)\""
)
_DATA: Final = re.compile(
    r"at most one source row|overflow|out of range|Invalid .*(?:value|timestamp|date)|Bad |division by zero|"
    r"cannot be (?:null|parsed)|Required field|exceeds|Error while reading data|violat",
    re.IGNORECASE,
)
_REASONS: Final[tuple[tuple[frozenset[str], _Kind, str], ...]] = (
    (frozenset({"bytesBilledLimitExceeded"}), ConfigurationError,
     "raise elt_maximum_bytes_billed in the connection's extra, or partition the target"),
    (frozenset({"rateLimitExceeded", "jobRateLimitExceeded", "quotaExceeded"}), TransientError,
     "BigQuery's quota is used up for now: try again later, run fewer tasks at once, or ask Google for more"),
    (frozenset({"backendError", "jobBackendError", "internalError", "jobInternalError", "tableUnavailable", "timeout",
                "badGateway", "serviceUnavailable", "attributeUnavailable"}), TransientError,
     "BigQuery had a problem of its own: try again"),
    (frozenset({"stopped", "cancelled"}), TransientError, "the job was cancelled; clear the task to run it again"),
    (frozenset({"billingNotEnabled", "billingTierLimitExceeded", "blocked"}), ConfigurationError,
     "see to the project's billing: BigQuery's sandbox has no DML"),
    (frozenset({"resourcesExceeded", "responseTooLarge"}), ConfigurationError,
     "the query needs more than BigQuery gives it: partition or cluster the target, or load smaller parts"),
    (frozenset({"notFound"}), MissingError,
     "check the name, and that it lies where the jobs run (elt_location in the connection's extra)"),
    (frozenset({"authError"}), ConfigurationError, "check the credentials of the connection"),
    (frozenset({"duplicate"}), AbortedError, "somebody else made it at the same moment; try again"),
    (frozenset({"resourceInUse"}), TransientError, "somebody else works on it; try again"),
)  # fmt: skip
_REASON_OF: Final = {401: "authError", 403: "accessDenied", 404: "notFound"}
_CODES: Final = frozenset({408, 429, 500, 502, 503, 504})


@contextmanager
def translate(what: str) -> Iterator[None]:
    """Turn Google's errors into ours.

    :param what: what is being done, as the beginning of a sentence.
    """
    try:
        yield
    except api.GoogleAPIError as error:
        raise failure(error, what) from error
    except (auth.GoogleAuthError, requests.RequestException, ConnectionError) as error:
        raise _unreached(error, what) from error


def failure(error: api.GoogleAPIError, what: str) -> EltError | FileNotFoundError:
    """Say what an error of the API, or of a job, means."""
    if not isinstance(error, api.GoogleAPICallError):  # RetryError: it gave up
        return TransientError(f"{what}: {_text(str(error))}", hint="BigQuery did not answer in time: try again")
    message = _message(error)
    gone = _FILE_GONE.search(message)
    if gone:
        return FileNotFoundError(errno.ENOENT, "gone from the stage", gone[1] or gone[2])
    reason = reason_of(error) or _REASON_OF.get(error.code or 0, "")
    kind, hint = _meaning(reason, error.code or 0, message)
    return kind(f"{what}: {message} ({reason or error.code})", hint=hint)


def _meaning(reason: str, code: int, message: str) -> tuple[_Kind, str]:
    if _ABORTED.search(message):
        return AbortedError, "another transaction was in the way; try again"
    if reason in {"accessDenied", "forbidden"}:
        return ConfigurationError, _grant(message)
    for reasons, kind, hint in _REASONS:
        if reason in reasons:
            return kind, hint
    if code in _CODES:
        return TransientError, "BigQuery had a problem of its own: try again"
    if _DATA.search(message):
        return DataError, "correct the rows at the source, or the column's type (column_types)"
    return ConfigurationError, "check the names, and the SQL and the options that were given"


def reason_of(error: api.GoogleAPICallError) -> str:
    """Return Google's word for what is wrong, such as ``notFound``."""
    return next((str(item["reason"]) for item in error.errors if isinstance(item, dict) and item.get("reason")), "")


def _message(error: api.GoogleAPICallError) -> str:
    said = next((str(item["message"]) for item in error.errors if isinstance(item, dict) and item.get("message")), "")
    return _text(said or str(error.message))


def _text(text: str) -> str:
    return " ".join(text.split())[:1000]


def _unreached(error: Exception, what: str) -> EltError:
    text = f"{what}: {_text(str(error))}"
    if isinstance(error, auth.DefaultCredentialsError | auth.MalformedError | auth.InvalidValue):
        return ConfigurationError(text, hint="give the connection a key, or the worker default credentials of Google")
    if isinstance(error, auth.RefreshError) and not error.retryable:
        return ConfigurationError(
            text, hint="check the key, and for impersonation grant roles/iam.serviceAccountTokenCreator on the account"
        )
    return TransientError(text, hint="check that this worker reaches bigquery.googleapis.com; else try again")


# --- privileges ---

_DENIED: Final = (
    re.compile(r"Permission (?P<permission>[\w.]+) denied on (?P<place>\w+ \S+)"),
    re.compile(r"does not have (?P<permission>[\w.]+) (?:permission|access)(?: (?:in|to|on))?(?: the)? (?P<place>.+)$"),
)  # fmt: skip
_ROLES: Final = (
    ("bigquery.jobs.", "roles/bigquery.jobUser on the project that runs the jobs"),
    ("bigquery.datasets.create", "roles/bigquery.user on the project, or make the dataset by hand"),
    ("bigquery.", "roles/bigquery.dataEditor on the dataset"),
    ("storage.", "roles/storage.objectViewer on the stage's bucket"),
    ("cloudkms.", "roles/cloudkms.cryptoKeyEncrypterDecrypter on the key, to BigQuery's own service account"),
    ("serviceusage.", "roles/serviceusage.serviceUsageConsumer on the quota project"),
)
_ALL_ROLES: Final = (
    "grant the service account roles/bigquery.jobUser on the project that runs the jobs, roles/bigquery.dataEditor on "
    "the target's dataset and on _elt, and roles/storage.objectViewer on the stage's bucket"
)


def _grant(message: str) -> str:
    for pattern in _DENIED:
        found = pattern.search(message)
        role = next((role for prefix, role in _ROLES if found and found["permission"].startswith(prefix)), "")
        if found and role:
            place = found["place"].rstrip(".,")
            return f"grant the service account {role} (it has the permission {found['permission']}; asked for {place})"
    return _ALL_ROLES
