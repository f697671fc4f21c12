"""Folders and buckets: where staged files wait, and where files are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowException, BaseHook
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.connection import airflow_connection, extras
from airflow_elt_provider.registry import StageKind, find_folder, find_stage, missing_extra, resolve

if TYPE_CHECKING:
    from airflow_elt_provider.connectors.files.source import FilesSource
    from airflow_elt_provider.core.protocols import Destination, Stage
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.remotes.config_as_code.folders import Folder
    from airflow_elt_provider.stages.s3_settings import S3StageSettings

_OURS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "acl": str, "bucket_owner": str, "checksum": str, "folder": Path, "kms_key_id": str,
    "request_payer": str, "sse": str,
}  # fmt: skip


class EltFilesHook(BaseHook):
    """Hands out stages, folders of small files, and the source that reads files.

    A ``file://`` stage needs no connection. An ``s3://`` stage takes one of type ``aws`` and logs in as Airflow's own
    AWS hook does (keys, session tokens, assumed roles, web identities, profiles, ``endpoint_url``); credentials that
    end are renewed. Without a connection boto3 looks where it always looks. These extras of the connection are ours:
    ``sse`` (``AES256`` or ``aws:kms``), ``kms_key_id``, ``acl``, ``bucket_owner``, ``checksum``,
    ``request_payer`` and ``folder``.

    A ``gs://`` stage takes one of type ``google_cloud_platform`` and logs in as Airflow's own Google hooks do (key,
    key file, secret, credential configuration, impersonation). Without a connection Google's client looks where it
    always looks. Ours are: ``kms_key_name``, ``user_project``, ``chunk_bytes``, ``folder``, and ``api_endpoint`` for a
    private endpoint.

    As a source a connection of type ``aws`` leads to ``s3://`` files, one of type ``google_cloud_platform`` to
    ``gs://`` files, and one of type ``fs`` to the folders of this worker.

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
        row = find_stage(uri)
        made: Stage = self._opened_at(row, row.stage, uri)
        return made

    def get_folder(self, uri: str) -> Folder:
        """Return the folder of small files at a URI.

        It connects when it is used.

        :raises ConfigurationError: as :meth:`get_stage`.
        """
        row = find_folder(uri)
        made: Folder = self._opened_at(row, row.folder, uri)
        return made

    def get_source(self) -> FilesSource:
        """Return the source that reads files through the connection; it connects when it is used.

        :raises ConfigurationError: for a connection that does not lead to files.
        """
        from airflow_elt_provider.connectors.files.settings import SCHEMES, FilesSettings
        from airflow_elt_provider.connectors.files.source import FilesSource

        conn_id = self.conn_id or self.default_conn_name
        conn_type = airflow_connection(conn_id).conn_type or ""
        if conn_type not in SCHEMES:
            raise ConfigurationError(
                f"Connection {conn_id!r} has type {conn_type!r}, which does not lead to files.",
                hint=f"use a connection of type {', '.join(SCHEMES)}",
            )
        return FilesSource(FilesSettings(conn_id, SCHEMES[conn_type], self.get_stage))

    def get_destination(self) -> Destination:
        """Files are no destination. :raises ConfigurationError: always."""
        raise ConfigurationError(
            f"Connection {self.conn_id!r} leads to files, which are no destination.", hint="use it as the source"
        )

    def lineage_name(self, path: TableRef | str) -> tuple[str, str]:
        """Return OpenLineage's namespace and name of the folder that files are read from."""
        from airflow_elt_provider.connectors.files.pattern import FilePattern

        pattern = FilePattern.parse(str(path))
        folder = "/".join(pattern.folder) or "/"
        return (pattern.store, folder) if pattern.bucket else ("file", pattern.root)

    def _opened_at(self, row: StageKind, kind: str, uri: str) -> Any:
        """Return what is at a URI.

        :param kind: import string of its class.
        """
        if row.scheme == "file":
            return resolve(kind, row)(uri)
        return self._gcs(row, kind, uri) if row.scheme == "gs" else self._s3(row, kind, uri)

    def _s3(self, row: StageKind, kind: str, uri: str) -> Any:
        try:
            from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        except ModuleNotFoundError as error:
            raise missing_extra(row, error.name or "boto3") from error
        from airflow_elt_provider.stages.uri import parse_stage_uri

        place, settings = parse_stage_uri(uri), self._s3_settings()
        hook: Any = AwsBaseHook(aws_conn_id=self.conn_id, client_type="s3")
        _ = hook.conn_config  # reads the connection here and now, not in the thread that first needs a client

        def client() -> Any:
            # A client of the stage's own: hook.conn is one that others may share.
            return hook.get_client_type(region_name=hook.region_name)

        return resolve(kind, row)(client, place.bucket, place.path, settings)

    def _s3_settings(self) -> S3StageSettings:
        from airflow_elt_provider.stages.s3_settings import S3StageSettings

        extra = self._extras()
        given = {name: kind(extra[name]) for name, kind in _OURS.items() if name in extra}
        if given.get("sse") not in {None, "AES256", "aws:kms", "aws:kms:dsse"}:
            raise ConfigurationError(
                f"Connection {self.conn_id!r} has sse={given['sse']!r}.", hint="use AES256 or aws:kms"
            )
        return S3StageSettings(**given)

    # --- Google ---

    def _gcs(self, row: StageKind, kind: str, uri: str) -> Any:
        try:
            from google.cloud.storage import Client

            login = self._google_login()
        except ImportError as error:
            raise missing_extra(row, error.name or "google.cloud.storage") from error
        from airflow_elt_provider.stages.gcs_login import endpoint
        from airflow_elt_provider.stages.gcs_settings import GcsStageSettings
        from airflow_elt_provider.stages.uri import parse_stage_uri

        place, extra = parse_stage_uri(uri), self._extras()

        def client() -> Any:
            return Client(project=None, credentials=login(), client_options=endpoint(extra))

        return resolve(kind, row)(client, place.bucket, place.path, GcsStageSettings.parse(extra))

    def _google_login(self) -> Callable[[], Any]:
        """Return what finds the credentials; the connection is read here and now."""
        if not self.conn_id:
            return lambda: None  # Google's client finds the default ones
        from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

        airflow_connection(self.conn_id)
        hook: Any = GoogleBaseHook(gcp_conn_id=self.conn_id)

        def login() -> Any:
            try:
                return hook.get_credentials()
            except (AirflowException, FileNotFoundError, KeyError, PermissionError, ValueError) as error:
                raise ConfigurationError(
                    f"Connection {self.conn_id!r} has no usable Google credentials: {error}",
                    hint="correct key_path, keyfile_dict or credential_config_file in its extra",
                ) from error

        return login

    def _extras(self) -> dict[str, Any]:
        return extras(airflow_connection(self.conn_id)) if self.conn_id else {}
