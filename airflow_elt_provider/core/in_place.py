"""A customer's own files, read where they lie: nothing of them is copied to the stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from airflow_elt_provider.errors import DataError


class LentFile(Protocol):
    """A file whose bytes are on their way to a destination, looked at as they pass."""

    def pieces(self) -> Iterator[bytes]:
        """Give the text of the file, in UTF-8, in bounded memory; once.

        Not before the last piece was taken is it known that all of them may count.

        :raises NotInPlaceError: when the destination could read them otherwise than a staged load would.
        :raises TransientError: when the file is not the one that was listed.
        """

    @property
    def rows(self) -> int:
        """How many rows they were, after the last piece."""


class NotInPlaceError(DataError):
    """A file that cannot be taken as it is: it has to be read, row by row, and staged.

    Who asked for it in place does that; it says better what is wrong, where anything is.
    """
