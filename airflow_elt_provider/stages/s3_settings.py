"""How a stage uses its bucket."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig


@dataclass(frozen=True, kw_only=True)
class S3StageSettings:
    """How a stage uses its bucket.

    :param sse: encryption asked for; None leaves it to the bucket's default.
    :param kms_key_id: key id or ARN for ``aws:kms``; "" for the account's own key.
    :param acl: canned ACL of written files, such as ``bucket-owner-full-control``.
    :param bucket_owner: account number that must own the bucket, else S3 refuses.
    :param request_payer: ``requester`` for buckets whose requester pays.
    :param checksum: of every request that writes; "" for servers that know none.
    :param part_bytes: size of the parts of an upload.
    :param threads: parts sent at once by one upload.
    :param folder: local folder for files on their way; default the system's temporary one.
    :param abort_uploads: whether cleaning up aborts uploads that killed tasks left unfinished; switch it off
        where a lifecycle rule does that and the identity may not.
    """

    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key_id: str = ""
    acl: str = ""
    bucket_owner: str = ""
    request_payer: str = ""
    checksum: str = "CRC32"
    part_bytes: int = 16 << 20
    threads: int = 4
    folder: Path | None = None
    abort_uploads: bool = True

    def __post_init__(self) -> None:
        if self.request_payer not in {"", "requester"}:
            raise ConfigurationError(
                f"request_payer={self.request_payer!r} is not known.", hint="write 'requester', or leave it out"
            )
        if self.kms_key_id and self.sse not in {"aws:kms", "aws:kms:dsse"}:
            raise ConfigurationError(
                f"kms_key_id={self.kms_key_id!r} does not go with sse={self.sse!r}.", hint="set sse='aws:kms'"
            )

    @property
    def everywhere(self) -> dict[str, Any]:
        """Arguments of every call."""
        given = {"ExpectedBucketOwner": self.bucket_owner, "RequestPayer": self.request_payer}
        return {name: value for name, value in given.items() if value}

    @property
    def writing(self) -> dict[str, Any]:
        """Arguments of every call that creates an object."""
        chosen = {
            "ServerSideEncryption": self.sse, "SSEKMSKeyId": self.kms_key_id, "ACL": self.acl,
            "ChecksumAlgorithm": self.checksum,
        }  # fmt: skip
        return {**self.everywhere, **{name: value for name, value in chosen.items() if value}}

    @property
    def transfer(self) -> TransferConfig:
        """How boto3 moves files."""
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(
            multipart_threshold=self.part_bytes, multipart_chunksize=self.part_bytes,
            max_concurrency=self.threads,
            preferred_transfer_client="classic",  # the other one reads the environment, not our client
        )  # fmt: skip

    @property
    def work(self) -> Path:
        """Where work folders lie."""
        return self.folder or Path(tempfile.gettempdir())
