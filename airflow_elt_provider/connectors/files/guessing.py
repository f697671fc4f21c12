"""The files that a path means, and how their rows stand in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from airflow_elt_provider.connectors.files.listing import Listing, fetched
from airflow_elt_provider.connectors.files.pattern import FilePattern
from airflow_elt_provider.connectors.files.settings import FileStore
from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.formats.guess import guess
from airflow_elt_provider.formats.guess_check import Check, check
from airflow_elt_provider.formats.guess_header import first_row
from airflow_elt_provider.formats.guess_report import Guess
from airflow_elt_provider.formats.guess_sample import HEAD_BYTES, take_sample

MOST_HEADERS: Final = 1000
"""Files whose headers are compared at most."""
MOST_READ: Final = 20
"""Files that are read as a whole, if there are no more of them."""
MOST_BYTES: Final = 1 << 30
"""How large they may be together."""
_SHOWN: Final = 10


class RangeStore(FileStore, Protocol):
    """A folder of files of which parts can be read."""

    def read_range(self, file: StoredFile, start: int, length: int) -> bytes:
        """Return some of a file's bytes; fewer at its end."""


@dataclass(frozen=True)
class _Stored:
    """A file in a store.

    :param most: bytes after which it ends for whoever reads it.
    """

    store: RangeStore
    file: StoredFile
    most: int = 1 << 62

    @property
    def size(self) -> int:
        return min(self.file.bytes, self.most)

    def read(self, start: int, length: int) -> bytes:
        return self.store.read_range(self.file, start, min(length, self.size - start))


@dataclass(frozen=True)
class Guessed:
    """What was guessed of a path, and what came of holding the file against it.

    :param path: as it was asked for.
    :param files: how many it means.
    :param check: None where the file was not read as a whole.
    :param differing: files whose headers are not that of the first one, with what they have.
    """

    path: str
    guess: Guess
    files: int
    check: Check | None = None
    differing: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {
            **self.guess.to_json(), "path": self.path, "files": self.files,
            "validation": self.check.to_json() if self.check else None, "other_headers": list(self.differing),
        }  # fmt: skip

    @property
    def problem(self) -> DataError | None:
        """What does not fit, as an error; None where all does."""
        name = self.path if self.check and self.check.scope else self.guess.name
        if self.check and not self.check.rows:
            return DataError(
                f"{name} has no rows: nothing could be validated, and mode='replace' would empty the target.",
                hint="name a file with rows in it",
            )
        if self.check and self.check.misfits:
            return DataError(
                f"{name}: {self.check.misfits:,} of {self.check.rows:,} rows do not fit the guess.",
                hint="correct the file, read the columns as text, or let max_quarantined_rows set such rows aside",
            )
        if self.differing:
            return DataError(
                f"{len(self.differing)} of {self.files} files have another header than {self.guess.name}.",
                hint="load the files of each header on their own: narrow the path",
            )
        return None


def guess_path(
    path: str, open_folder: Callable[[str], Any], *, validate: bool = True, max_shown: int = 20
) -> Guessed:  # fmt: skip
    """Guess from the first file of a path, look at the others' headers, and read the files as a whole.

    Of more than 20 files, or more than 1 GiB, only the first is read.

    :param path: as ``path`` of the operators.
    :param open_folder: lends a folder, given as a URI or an absolute path.
    :param max_shown: how many misfits are kept.
    :raises ConfigurationError: when there is no such file.
    :raises DataError: for a file that is empty or cannot be read.
    """
    pattern = FilePattern.parse(path)
    store: RangeStore = open_folder(pattern.root)
    files = sorted((file for file in Listing(store, pattern).files()), key=lambda file: file.uri)
    if not files:
        raise ConfigurationError(
            f"No file matches path={path!r}.",
            hint="correct it; names are exact, capitals included, and * does not cross a slash",
        )
    first = next((file for file in files if file.bytes), files[0])
    found = guess(take_sample(_Stored(store, first)), first.uri)
    others = [file for file in files if file is not first and file.bytes]
    differing = dict(_differing(store, others[:MOST_HEADERS], found))
    done = None
    if validate:
        wanted = [first, *(file for file in others if file.uri not in differing)]
        few = len(wanted) <= MOST_READ and sum(file.bytes for file in wanted) <= MOST_BYTES
        done = _checked(store, wanted if few else [first], found, max_shown)
        done.scope = _scope(len(wanted) if few else 1, len(files), found, len(differing))
    return Guessed(path, found, len(files), done, list(differing.values()))


def _checked(store: RangeStore, files: Sequence[StoredFile], found: Guess, most: int) -> Check:
    done = Check()
    for file in files:
        with _at_hand(store, file) as local:
            one = check(local, replace(found, name=file.uri), max(0, most - len(done.shown)))
        done.join(one, file.uri if len(files) > 1 else "")
    return done


def _scope(read: int, files: int, found: Guess, differing: int) -> str:
    """Say which of several files were read."""
    if files == 1:
        return ""
    headers = (
        "their headers agree"
        if not differing
        else f"{differing:,} {'has' if differing == 1 else 'have'} another header"
    )
    return f"{read:,} of {files:,} files {'was' if read == 1 else 'were'} validated" + (
        f"; {headers}" if found.form.type == "csv" else ""
    )


@contextmanager
def _at_hand(store: RangeStore, file: StoredFile) -> Iterator[Path]:
    with fetched(store, [file], lambda _: None) as copies:
        yield copies[0].path


def _differing(store: RangeStore, others: Sequence[StoredFile], found: Guess) -> Iterator[tuple[str, str]]:
    """Give the files whose header is not that of the guess, by their address, with what they have."""
    if found.form.type != "csv":
        return
    names = [one.name for one in found.columns] + list(found.left_out)
    for file in others:
        row = first_row(take_sample(_Stored(store, file, HEAD_BYTES)), found.form)
        if not found.form.header:
            if len(row) != len(names):
                yield file.uri, f"{file.uri}: {len(row)} fields instead of {len(names)}"
        elif sorted(row) != sorted(names):
            new, missing = [one for one in row if one not in names], [one for one in names if one not in row]
            told = [f"{what} {', '.join(map(repr, some[:_SHOWN]))}"
                    for what, some in (("lacks", missing), ("has", new)) if some]  # fmt: skip
            yield file.uri, f"{file.uri}: {' and '.join(told) or 'names a column twice'}"
