"""What every stage answers about a file that is not as it has to be."""

from __future__ import annotations

import errno

from airflow_elt_provider.errors import DataError


def taken(uri: str) -> DataError:
    """Return the error for a file that is to be put where one is."""
    return DataError(f"{uri} exists already and is not overwritten.", hint="clear the task: it takes a new name")


def changed(uri: str) -> FileNotFoundError:
    """Return the error for a file whose listed version is gone."""
    return FileNotFoundError(errno.ENOENT, "Changed since it was listed", uri)
