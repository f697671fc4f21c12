"""Start gcp-storage-emulator without its index on disk.

It writes the index of all buckets anew with every request, for a restart that never comes here; with a
thousand objects that is most of its time.
"""

from __future__ import annotations

from gcp_storage_emulator.__main__ import main  # type: ignore[import-untyped]
from gcp_storage_emulator.storage import Storage  # type: ignore[import-untyped]


def forget(_storage: Storage) -> None:
    """Leave the index in memory."""


if __name__ == "__main__":
    Storage._write_config_to_file = forget  # noqa: SLF001
    main()
