"""Where files are, and how to get at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.core.protocols import Stage

SCHEMES: Final[Mapping[str, str]] = {"aws": "s3", "google_cloud_platform": "gs", "fs": "file"}
"""Connection type -> scheme of the files that it leads to."""


@dataclass(frozen=True)
class FilesSettings:
    """A connection to a store of files.

    :param conn_id: for messages.
    :param scheme: of the files that it leads to: ``s3``, ``gs`` or ``file``.
    :param open_folder: lends a folder, given as a URI or an absolute path, to be listed and read; nothing is written.
    """

    conn_id: str
    scheme: str
    open_folder: Callable[[str], Stage]
