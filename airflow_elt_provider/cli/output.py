"""Standard output and error, which may be closed, full, or speak less than Unicode."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

EXIT_TRANSIENT: Final = 75
"""EX_TEMPFAIL of sysexits.h: the same command may go well later."""
EXIT_UNHEARD: Final = 141
"""What a shell calls the end of a command by SIGPIPE: nobody reads any more."""


class UnwrittenError(Exception):
    """The result could not be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self._error = error

    def end(self) -> int:
        """Say why, unless nobody listens any more, and return the exit code."""
        _forget()
        if isinstance(self._error, BrokenPipeError):
            return EXIT_UNHEARD
        say_aside(f"elt: The result cannot be written: {self._error.strerror}. Remedy: make room where it goes")
        return EXIT_TRANSIENT


def prepare() -> None:
    r"""Let what a terminal or a file cannot take be written as ``\u5c71``."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # closed, or not Python's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def speaks_unicode() -> bool:
    """Whether standard output takes every character: an escape of Python's in a JSON document is none of JSON's."""
    try:
        return codecs.lookup(sys.stdout.encoding).name.startswith("utf")
    except (AttributeError, LookupError, TypeError):
        return False


@contextmanager
def writing() -> Iterator[None]:
    """Write to standard output. :raises UnwrittenError: when that does not go through."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise UnwrittenError(error) from error


def say(text: str) -> None:
    """Write a result. :raises UnwrittenError: when it cannot be written."""
    with writing():
        print(text)


def say_aside(line: str) -> None:
    """Write a line to standard error, if anybody takes it."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _forget() -> None:
    """Let Python, when it ends, not try to write once more what cannot be written."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
