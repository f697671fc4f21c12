"""What ``elt doctor`` asks of systems, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import EltError


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and nothing that stands in the way of what was asked for."""
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One check and its outcome.

    :param check: what was checked, e.g. ``public.actor: read``.
    :param detail: what was found. Never a secret: the texts are printed.
    :param remedy: what to do about it, as an instruction (a GRANT, an IAM action, a pip command); "" for nothing.
    """

    check: str
    verdict: Verdict
    detail: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as ``elt doctor --json`` prints it."""
        return {"check": self.check, "verdict": self.verdict, "detail": self.detail, "remedy": self.remedy}


@dataclass(frozen=True)
class Inquiry:
    """What a system is asked about.

    :param tables: tables that are to be read, or targets that are to be written; without any, the system says what it
        can say of itself.
    :param paths: files that are to be read.
    :param captures: names of the captures that have to be possible; of all others it is only noted whether they are.
    :param publication: of the capture ``wal``, "" for one of our own.
    """

    tables: tuple[TableRef, ...] = ()
    paths: tuple[str, ...] = ()
    captures: frozenset[str] = frozenset()
    publication: str = ""


@runtime_checkable
class Diagnosable(Protocol):
    """A source or a destination that can examine itself."""

    def diagnose(self, inquiry: Inquiry) -> Iterator[Finding]:
        """Check connection, versions and privileges, one finding a check, and leave nothing behind.

        :raises EltError: for whatever keeps it from checking further; that is a problem itself.
        """


def ok(check: str, detail: str = "") -> Finding:
    """Return a finding with which all is well."""
    return Finding(check, Verdict.OK, detail)


def note(check: str, detail: str, remedy: str = "") -> Finding:
    """Return a finding that is worth knowing."""
    return Finding(check, Verdict.NOTE, detail, remedy)


def problem(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that stands in the way."""
    return Finding(check, Verdict.PROBLEM, detail, remedy)


def refused(check: str, error: EltError) -> Finding:
    """Return an error as a problem."""
    return problem(check, error.message, error.hint)


def cursor_unknown(table: TableRef) -> Finding:
    """Say what is not known of the capture ``cursor``: the column."""
    return note(f"{table}: capture cursor", "possible with a column that only grows; none was named, none looked at")


def unknowable(captures: Collection[str]) -> Iterator[Finding]:
    """Say that captures were asked for and no table was: nothing was checked."""
    for name in sorted(captures):
        yield problem(
            f"capture {name}", "not checked: whether it is possible depends on the table", "name one: --source-table"
        )


def checked(check: str, work: Callable[[], str]) -> Finding:
    """Do some work: its answer is the detail, its error the problem."""
    try:
        return ok(check, work())
    except EltError as error:
        return refused(check, error)


def survived(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Give findings, the last of them the error with which they broke off.

    :param check: what was being checked, where they break off before the first one.
    """
    try:
        yield from findings
    except EltError as error:
        yield refused(check, error)
