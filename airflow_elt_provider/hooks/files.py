"""Folders and buckets: where staged files wait."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import BaseHook
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection, extras
from airflow_elt_provider.registry import find_stage, missing_extra

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Stage
    from airflow_elt_provider.stages.s3_settings import S3StageSettings

_OURS: Final = {"acl": str, "bucket_owner": str, "checksum": str, "kms_key_id": str, "sse": str}


class EltFilesHook(BaseHook):
    """Hands out stages.

    A ``file://`` stage needs no connection. An ``s3://`` stage takes one of type ``aws`` and logs in as Airflow's own
    AWS hook does (keys, session tokens, assumed roles, web identities, profiles, ``endpoint_url``); credentials that
    end are renewed. Without a connection boto3 looks where it always looks. These extras of the connection are ours:
    ``sse`` (``AES256`` or ``aws:kms``), ``kms_key_id``, ``acl``, ``bucket_owner`` and ``checksum``.

    :param conn_id: the Airflow connection, or None.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "aws_default"

    def __init__(self, conn_id: str | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_stage(self, uri: str) -> Stage:
        """Return the stage at a URI; it connects when it is used.

        :raises ConfigurationError: for a URI or a connection that cannot be meant.
        """
        if find_stage(uri).scheme == "file":
            from airflow_elt_provider.stages.local import LocalStage

            return LocalStage(uri)
        return self._s3(uri)

    def _s3(self, uri: str) -> Stage:
        try:
            from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        except ModuleNotFoundError as error:
            raise missing_extra(find_stage(uri), error.name or "boto3") from error
        from airflow_elt_provider.stages.s3 import S3Stage
        from airflow_elt_provider.stages.uri import parse_stage_uri

        place, settings = parse_stage_uri(uri), self._s3_settings()
        hook: Any = AwsBaseHook(aws_conn_id=self.conn_id, client_type="s3")
        _ = hook.conn_config  # reads the connection here and now, not in the thread that first needs a client

        def client() -> Any:
            # A client of the stage's own: hook.conn is one that others may share.
            return hook.get_client_type(region_name=hook.region_name)

        return S3Stage(client, place.bucket, place.path, settings)

    def _s3_settings(self) -> S3StageSettings:
        from airflow_elt_provider.stages.s3_settings import S3StageSettings

        extra = extras(airflow_connection(self.conn_id)) if self.conn_id else {}
        given: dict[str, Any] = {name: kind(extra[name]) for name, kind in _OURS.items() if name in extra}
        if given.get("sse") not in {None, "AES256", "aws:kms", "aws:kms:dsse"}:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has sse={given['sse']!r}.", hint="use AES256 or aws:kms"
            )
        if "folder" in extra:
            given["folder"] = Path(str(extra["folder"]))
        return S3StageSettings(**given)
