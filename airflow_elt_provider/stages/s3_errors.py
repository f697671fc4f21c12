"""What S3 and its client refuse, as this package's errors."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_elt_provider.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

_ACTIONS: Final[Mapping[str, str]] = {
    "PutObject": "s3:PutObject", "CreateMultipartUpload": "s3:PutObject", "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject", "GetObject": "s3:GetObject", "HeadObject": "s3:GetObject",
    "DeleteObject": "s3:DeleteObject", "DeleteObjects": "s3:DeleteObject", "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}  # fmt: skip
_OF_THE_BUCKET: Final = frozenset({"s3:ListBucket", "s3:ListBucketMultipartUploads"})
_DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"})
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_THROTTLED: Final = frozenset({
    "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests",
    "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "InternalError", "OperationAborted",
    "BadDigest", "IncompleteBody",
})  # fmt: skip
_SERVER_FAULT: Final = 500
_NOT_IMPLEMENTED: Final = 501
_RENEW: Final = "give the stage's connection a role to assume, or a new token"
_REGION: Final = ("the bucket is in another region", "set region_name of the stage's connection")
_OF_A_KEY: Final = re.compile(r"\bkms:|ciphertext refers to|customer master key|KMS key", re.IGNORECASE)
_PLAIN_HTTP: Final = re.compile(r"secure connection|SecureTransport", re.IGNORECASE)
_HTTPS: Final = "give the stage's connection an endpoint_url that begins with https://, or none"
_EXPLICIT: Final = re.compile(r"explicit deny(?: in (?:an? )?([\w -]*policy))?", re.IGNORECASE)
_CONDITIONS: Final = (
    "have this worker's outbound address (aws:SourceIp) or VPC endpoint (aws:SourceVpce, with its endpoint_url in the "
    "connection) let through, and go by https:// (aws:SecureTransport)"
)
_SIMPLE: Final[Mapping[str, tuple[str, str]]] = {
    "NoSuchBucket": ("the bucket does not exist", "create it, or correct the stage"),
    "InvalidAccessKeyId": ("the access key id is unknown", "correct the login of the stage's connection"),
    "SignatureDoesNotMatch": ("the secret key is wrong", "correct the password of the stage's connection"),
    "ExpiredToken": ("the session token has expired", _RENEW),
    "TokenRefreshRequired": ("the session token has expired", _RENEW),
    "InvalidToken": ("the session token is not valid", _RENEW),
    "RequestTimeTooSkewed": ("this worker's clock is off by minutes", "set the clock (NTP)"),
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "InvalidObjectState": ("a lifecycle rule archived it", "exempt the stage, and clear from extract on"),
    "KeyTooLongError": ("the key is too long", "give the stage a shorter prefix or stream name"),
    "AccessControlListNotSupported": ("the bucket takes no ACLs", "leave out the stage's acl"),
}  # fmt: skip


@dataclass(frozen=True)
class ObjectPlace:
    """What a call is about; ``key`` is "" for the bucket itself."""

    bucket: str
    key: str = ""

    @property
    def uri(self) -> str:
        """The object's URI, or the bucket's."""
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    def arn(self, action: str) -> str:
        """The resource that a policy has to name for an action."""
        arn = f"arn:aws:s3:::{self.bucket}"
        return arn if action in _OF_THE_BUCKET else f"{arn}/{self.key or '*'}"


@contextlib.contextmanager
def s3_errors(place: ObjectPlace) -> Iterator[None]:
    """Translate what is known; conditional writes that lost, and what nobody knows, pass as they are.

    :raises FileNotFoundError: for a missing object.
    :raises ConfigurationError: for what a person has to change.
    :raises TransientError: for throttling, faults of the server and broken connections.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from s3transfer.exceptions import RetriesExceededError

    try:
        yield
    except ClientError as error:
        translated = answered(error, place)
        if translated is None:
            raise
        raise translated from error
    except BotoCoreError as error:
        not_sent = _unanswered(error, place)
        if not_sent is None:
            raise
        raise not_sent from error
    except (Boto3Error, RetriesExceededError) as error:
        raise TransientError(f"{place.uri}: the transfer broke off ({error}).") from error


def answered(error: ClientError, place: ObjectPlace) -> Exception | None:
    """Return the translation of an error that S3 answered with; None for one that nobody knows."""
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _MISSING:
        return FileNotFoundError(errno.ENOENT, "No such object", place.uri)
    if code.startswith("KMS.") or _OF_A_KEY.search(message):
        return _key_refused(error, place)
    if _PLAIN_HTTP.search(message):
        return ConfigurationError(f"S3 refused {place.uri} over plain HTTP: {message}", hint=_HTTPS)
    if code in _DENIED:
        return _denied(error, message, place)
    if code in _THROTTLED or (status >= _SERVER_FAULT and status != _NOT_IMPLEMENTED):
        return TransientError(f"S3 did not serve {place.uri}: {code} {message}".rstrip() + ".")
    return _refused(error, place)


def _refused(error: ClientError, place: ObjectPlace) -> ConfigurationError | None:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _SIMPLE:
        what, hint = _SIMPLE[code]
        return ConfigurationError(f"S3 refused {place.uri}: {what} ({code}).", hint=hint)
    if status == _NOT_IMPLEMENTED or code == "NotImplemented":
        return ConfigurationError(
            f"The server of {place.uri} does not support {error.operation_name} so ({message or code}).",
            hint="use a store with conditional writes (If-None-Match), without which no stage is safe",
        )
    return None


def _denied(error: ClientError, message: str, place: ObjectPlace) -> ConfigurationError:
    action = _ACTIONS.get(error.operation_name, f"s3:{error.operation_name}")
    hint = f"allow {action} on {place.arn(action)} to the identity of the stage's connection"
    if action == "s3:GetObject":
        bucket = place.arn("s3:ListBucket")
        hint += f", and s3:ListBucket on {bucket}, without which S3 denies files that are not there, too"
    explicit = _EXPLICIT.search(message)
    what = f"S3 denied {error.operation_name} of {place.uri}" + (f": {message}" if message else ".")
    if explicit:  # no permission helps against it
        policy = explicit[1] or "policy"
        return ConfigurationError(what, hint=f"a statement of the {policy} denies it: {_CONDITIONS}")
    return ConfigurationError(what, hint=f"{hint}; where that is so, a Deny of the bucket's policy may be in the way: "
                              f"{_CONDITIONS}")  # fmt: skip


def _key_refused(error: ClientError, place: ObjectPlace) -> ConfigurationError:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    reads = _ACTIONS.get(error.operation_name) == "s3:GetObject"
    needed = "kms:Decrypt" if reads else "kms:GenerateDataKey and kms:Decrypt"
    return ConfigurationError(
        f"The KMS key of {place.uri} cannot be used: {code} {message}".rstrip(),
        hint=f"allow {needed} on the key to the stage's connection, "
        "in its policy and in the key's own, and see that the key exists and is enabled",
    )


def _unanswered(error: BotoCoreError, place: ObjectPlace) -> Exception | None:
    from botocore import exceptions as boto

    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return ConfigurationError(
            f"There are no AWS credentials for {place.uri} ({error}).",
            hint="give them to the stage's connection, or give the worker a role",
        )
    if isinstance(error, boto.SSLError) and "certificate" in str(error).lower():
        return ConfigurationError(
            f"The certificate of the server of {place.uri} was refused ({error}).",
            hint="set verify of the stage's connection to the CA bundle that signed it",
        )
    if isinstance(
        error,
        boto.HTTPClientError | boto.ConnectionError | boto.IncompleteReadError | boto.CredentialRetrievalError,
    ):
        return TransientError(f"The connection to S3 failed for {place.uri} ({error}).")
    return None
