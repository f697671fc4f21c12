"""What Cloud Storage and its client refuse, as this package's errors."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

CREATE: Final = "storage.objects.create"
GET: Final = "storage.objects.get"
LIST: Final = "storage.objects.list"
DELETE: Final = "storage.objects.delete"

_ROLES: Final[Mapping[str, str]] = {
    CREATE: "roles/storage.objectCreator", GET: "roles/storage.objectViewer", LIST: "roles/storage.objectViewer",
    DELETE: "roles/storage.objectUser", "serviceusage.services.use": "roles/serviceusage.serviceUsageConsumer",
}  # fmt: skip
_PERMISSION: Final = re.compile(r"\b(?:storage|serviceusage)\.[a-zA-Z]+\.[a-zA-Z]+\b")
_OF_THE_MOMENT: Final = frozenset({
    HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS,
})  # fmt: skip
_THROTTLED: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_SIMPLE: Final[tuple[tuple[str, str, str], ...]] = (
    # what the message says, what is wrong, the remedy
    ("requester pays", "the bucket's requester pays", "set user_project of the stage's connection"),
    ("retention policy", "a retention policy or a hold keeps it", "give the stage a bucket without one"),
    ("organization's policy", "a VPC Service Controls perimeter is in the way", "let the worker into the perimeter"),
    ("billing account", "its project has no billing account", "enable billing for the project"),
    ("constraints/", "an organization policy forbids it", "give the stage a bucket that meets the policy"),
)
_LONGEST: Final = 500
_KMS: Final = ("cloud kms", "cloudkms", "kms key", "cryptokey")


@dataclass(frozen=True)
class GcsPlace:
    """What a call is about; ``key`` is "" for the bucket itself."""

    bucket: str
    key: str = ""

    @property
    def uri(self) -> str:
        """The object's URI, or the bucket's."""
        return f"gs://{self.bucket}/{self.key}".rstrip("/")


@contextlib.contextmanager
def gcs_errors(place: GcsPlace, permission: str) -> Iterator[None]:
    """Translate what is known; conditional writes that lost, and what nobody knows, pass as they are.

    :param permission: what the call needs.
    :raises FileNotFoundError: for a missing object.
    :raises ConfigurationError: for what a person has to change.
    :raises TransientError: for throttling, faults of the server and broken connections.
    """
    try:
        yield
    except Exception as error:
        translated = _translated(error, place, permission)
        if translated is None:
            raise
        raise translated from error


def _translated(error: Exception, place: GcsPlace, permission: str) -> Exception | None:
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        return _translated(error.cause, place, permission)
    if isinstance(error, GoogleAPICallError):
        return answered(error, place, permission)
    if isinstance(error, GoogleAuthError):
        return _no_token(error, place)
    return _unanswered(error, place)


# --- answers ---


def answered(error: GoogleAPICallError, place: GcsPlace, permission: str) -> Exception | None:
    """Return the translation of an error that Cloud Storage answered with; None for one that nobody knows."""
    status, (message, reason) = error.code, _said(error)
    if status is None or status in _OF_THE_MOMENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR or reason in _THROTTLED:
        return TransientError(f"Cloud Storage did not serve {place.uri}: {status} {message}".rstrip(". ") + ".")
    if any(word in message.lower() for word in _KMS):
        return _key_refused(message, place)
    for words, what, hint in _SIMPLE:
        if words in message.lower():
            return ConfigurationError(f"Cloud Storage refused {place.uri}: {what} ({message}).", hint=hint)
    return _refused(HTTPStatus(status), message, place, permission)


def _refused(status: HTTPStatus, message: str, place: GcsPlace, permission: str) -> Exception | None:
    if status == HTTPStatus.NOT_FOUND:
        return _missing(message, place, permission)
    if status == HTTPStatus.FORBIDDEN:
        return _denied(message, place, permission)
    if status == HTTPStatus.UNAUTHORIZED:
        return ConfigurationError(
            f"Cloud Storage does not accept the credentials for {place.uri}: {message}",
            hint="give the stage's connection a key that is not revoked, or an account to impersonate",
        )
    return None


def _missing(message: str, place: GcsPlace, permission: str) -> Exception:
    if message.startswith("The specified bucket does not exist") or permission == LIST:
        return ConfigurationError(
            f"Cloud Storage refused {place.uri}: the bucket does not exist.", hint="create it, or correct the stage"
        )
    if permission == CREATE:
        return TransientError(f"Cloud Storage has forgotten the upload of {place.uri}: {message}")
    return FileNotFoundError(errno.ENOENT, "No such object", place.uri)


def _denied(message: str, place: GcsPlace, permission: str) -> ConfigurationError:
    named = _PERMISSION.search(message)
    missing = named.group() if named else permission
    role = _ROLES.get(missing, "roles/storage.objectUser")
    if missing.startswith("serviceusage."):
        hint = f"grant {missing} ({role}) on the project that pays to the identity of the stage's connection"
    else:
        hint = f"grant {missing} on the bucket {place.bucket} to the identity of the stage's connection; {role} has it"
    if missing == GET:
        hint += f", as it has {LIST}, without which Cloud Storage denies objects that are not there, too"
    return ConfigurationError(f"Cloud Storage denied {place.uri}: {message}", hint=hint)


def _key_refused(message: str, place: GcsPlace) -> ConfigurationError:
    return ConfigurationError(
        f"The Cloud KMS key of {place.uri} cannot be used: {message}",
        hint="grant roles/cloudkms.cryptoKeyEncrypterDecrypter on the key to the Cloud Storage service agent of the "
        "bucket's project (service-NUMBER@gs-project-accounts.iam.gserviceaccount.com), "
        "and see that the key is enabled and in the bucket's location",
    )


def _said(error: GoogleAPICallError) -> tuple[str, str]:
    """Return message and reason; media calls hide both in the body of the answer."""
    try:
        said: Any = error.response.json()["error"]
        return said["message"], next((each.get("reason", "") for each in said.get("errors", ())), "")
    except (AttributeError, KeyError, TypeError, ValueError):
        return error.message or "", ""


# --- no answer ---


def _no_token(error: GoogleAuthError, place: GcsPlace) -> Exception:
    from google.auth.exceptions import DefaultCredentialsError, TransportError

    said = " ".join(str(each) for each in error.args)[:_LONGEST]
    if isinstance(error, DefaultCredentialsError):
        return ConfigurationError(
            f"There are no Google credentials for {place.uri} ({said}).",
            hint="give the stage a connection with a key, or give the worker a service account",
        )
    if isinstance(error, TransportError) or error.retryable:
        return TransientError(f"Google issued no token for {place.uri} at the moment ({said}).")
    return ConfigurationError(
        f"Google issued no token for {place.uri} ({said}).",
        hint="see that the connection's key is not deleted and the worker's clock is right; to impersonate an account, "
        "grant roles/iam.serviceAccountTokenCreator on it",
    )


def _unanswered(error: Exception, place: GcsPlace) -> Exception | None:
    from http.client import HTTPException

    from google.resumable_media import DataCorruption, InvalidResponse
    from requests import RequestException
    from requests.exceptions import SSLError
    from urllib3.exceptions import HTTPError

    if isinstance(error, SSLError) and "certificate" in str(error).lower():
        return ConfigurationError(
            f"The certificate of the server of {place.uri} was refused ({error}).",
            hint="set REQUESTS_CA_BUNDLE of the worker to the CA bundle that signed it",
        )
    if isinstance(error, DataCorruption):
        return TransientError(f"{place.uri} arrived damaged: its checksum differs.")
    if isinstance(error, InvalidResponse | RequestException | HTTPError | HTTPException | ConnectionError):
        return TransientError(f"The connection to Cloud Storage failed for {place.uri} ({error}).")
    return None
