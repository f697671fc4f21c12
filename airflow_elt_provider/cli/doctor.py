"""``elt doctor``: what works, what does not, and what to do about it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.cli.answer import Answer
from airflow_elt_provider.errors import ConfigurationError, EltError

if TYPE_CHECKING:
    from airflow_elt_provider.core.doctor import Finding, Inquiry

_PREFIX: Final = "AIRFLOW_CONN_"
_COLOURS: Final = {"ok": "32", "note": "33", "problem": "31;1"}
EXIT_UNWELL: Final = 2
_CAPTURES: Final = ("full", "cursor", "xmin", "fingerprint", "wal")
_ONE: Final = "name a connection: {} CONN_ID"
_PLACES: Final = {
    "source_table": ("source", _ONE), "source_path": ("source", _ONE), "capture": ("source", _ONE),
    "publication": ("source", _ONE), "target_table": ("destination", _ONE),
    "stage_conn_id": ("stage", "name the place: {} URI"),
}  # fmt: skip
"""What is asked for, where it is looked for, and what to say without."""


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add what ``elt doctor`` takes."""
    add = parser.add_argument
    add("--source", action="append", default=[], metavar="CONN_ID", help="a connection that is read from")
    add("--source-table", action="append", default=[], metavar="TABLE", help="that has to be readable there")
    add("--source-path", action="append", default=[], metavar="PATH", help="files that have to be readable there")
    add("--capture", action="append", default=[], choices=_CAPTURES, help="that has to be possible (others are only "
        "noted)")  # fmt: skip
    add("--publication", default="", metavar="NAME", help="of capture wal")
    add("--destination", action="append", default=[], metavar="CONN_ID", help="a connection that is written to")
    add("--target-table", action="append", default=[], metavar="TABLE", help="that has to be writable there")
    add("--stage", action="append", default=[], metavar="URI", help="where a small file is written, read and deleted")
    add("--stage-conn-id", metavar="CONN_ID", help="for s3:// and gs://")
    add("--remote", action="append", default=[], metavar="CONN_ID", help="an Airbyte, Fivetran or Digdag connection")
    add("--extra", action="append", default=[], metavar="NAME", help="also check the packages of this extra")
    add("--packages", metavar="FILE", help="only compare a list of packages (of Composer, of pip freeze; - is standard "
        "input) with what this package needs")  # fmt: skip
    parser.set_defaults(run=_doctor)


@dataclass(frozen=True)
class _Examined:
    subject: str
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        return {"subject": self.subject, "findings": [finding.to_json() for finding in self.findings]}


def _doctor(arguments: argparse.Namespace) -> Answer:
    from airflow_elt_provider.core.doctor import Verdict

    _refuse_placeless(arguments)
    examined = list(_examined(arguments))
    problems = sum(finding.verdict is Verdict.PROBLEM for each in examined for finding in each.findings)
    document = {"ok": not problems, "problems": problems, "subjects": [each.to_json() for each in examined]}
    return Answer(document, _text(examined, problems), EXIT_UNWELL if problems else 0)


def _refuse_placeless(arguments: argparse.Namespace) -> None:
    """Refuse to look for something that nobody said where to look for: all would seem to be well."""
    for asked, (place, hint) in _PLACES.items():
        if getattr(arguments, asked) and not getattr(arguments, place):
            flag = f"--{place}"
            raise ConfigurationError(f"--{asked.replace('_', '-')} needs {flag}.", hint=hint.format(flag))
    if arguments.packages:
        for place in ("source", "destination", "stage", "remote"):
            if getattr(arguments, place):
                raise ConfigurationError(
                    f"--packages compares packages only, and looks at no --{place}.", hint="run two commands"
                )


def _examined(arguments: argparse.Namespace) -> Iterator[_Examined]:
    if arguments.packages:
        yield _listed(arguments.packages, arguments.extra)
        return
    named = arguments.source or arguments.destination or arguments.stage or arguments.remote
    conn_ids = [] if named else sorted(name[len(_PREFIX) :].lower() for name in os.environ if name.startswith(_PREFIX))
    yield _dependencies(arguments, conn_ids)
    for conn_id in conn_ids:
        yield _any_connection(conn_id)
    for conn_id in arguments.source:
        yield _source(conn_id, _inquiry(arguments, arguments.source_table))
    yield from _unlooked(arguments)
    for conn_id in arguments.remote:
        yield _remote(conn_id)
    for conn_id in arguments.destination:
        yield _destination(conn_id, _inquiry(arguments, arguments.target_table))
    for uri in arguments.stage:
        yield _stage(uri, arguments)


def _inquiry(arguments: argparse.Namespace, tables: list[str]) -> Inquiry:
    from airflow_elt_provider.core.doctor import Inquiry
    from airflow_elt_provider.core.table_ref import TableRef

    paths = tuple(arguments.source_path)
    return Inquiry(tuple(map(TableRef.parse, tables)), paths, frozenset(arguments.capture), arguments.publication)


# --- packages ---


def _listed(file: str, extras: list[str]) -> _Examined:
    from airflow_elt_provider.cli.requirements import compare, read_list

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.", hint="name a file, or -") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is no text.", hint="give a list of packages, in UTF-8") from error
    where = "standard input" if file == "-" else file
    return _Examined(f"packages of {where}", list(compare(read_list(text), extras, here=False)))


def _dependencies(arguments: argparse.Namespace, conn_ids: list[str]) -> _Examined:
    from airflow_elt_provider.cli.requirements import compare, installed, python_fits
    from airflow_elt_provider.core.doctor import survived

    def findings() -> Iterator[Finding]:
        yield from compare(installed(), [*arguments.extra, *sorted(_extras(arguments, conn_ids))])
        yield python_fits()

    return _Examined("packages", list(survived("packages", findings())))


def _extras(arguments: argparse.Namespace, conn_ids: list[str]) -> set[str]:
    """Return the extras that the connections and stages need."""
    from airflow_elt_provider.cli.requirements import PACKAGE
    from airflow_elt_provider.cli.systems import connection
    from airflow_elt_provider.registry import find_stage, systems

    rows: list[Any] = []
    for conn_id in {*conn_ids, *arguments.source, *arguments.destination}:
        try:
            conn_type = connection(conn_id).conn_type
        except EltError:  # said where the connection itself is examined
            continue
        rows += [row for row in systems() if conn_type in row.conn_types]
    rows += [find_stage(uri) for uri in arguments.stage]
    return {row.extra for row in rows if row.extra and row.distribution == PACKAGE}


# --- systems ---


def _unlooked(arguments: argparse.Namespace) -> Iterator[_Examined]:
    """Say what none of the sources could be asked: tables of those that lead to files, files of all others."""
    from airflow_elt_provider.cli.systems import connection
    from airflow_elt_provider.core.doctor import problem
    from airflow_elt_provider.registry import systems

    try:
        kinds = {connection(conn_id).conn_type for conn_id in arguments.source}
    except EltError:  # said where the connection itself is examined
        return
    of_files = {kind for row in systems() if row.files for kind in row.conn_types} & kinds
    captures = set(arguments.capture) - {"full"}
    findings = []
    if arguments.source_path and not of_files:
        findings.append(problem("--source-path", "not looked at: no source leads to files", "name one: --source"))
    if (arguments.source_table or captures) and kinds == of_files:
        flag = "--source-table" if arguments.source_table else "--capture"
        findings.append(problem(flag, "not looked at: every source leads to files", "name another one: --source"))
    if kinds and findings:
        yield _Examined("sources", findings)


def _source(conn_id: str, inquiry: Inquiry) -> _Examined:
    from airflow_elt_provider.cli.systems import source
    from airflow_elt_provider.core.doctor import Diagnosable, note, survived

    def findings() -> Iterator[Finding]:
        system = source(conn_id)
        if isinstance(system, Diagnosable):
            yield from system.diagnose(inquiry)
        else:
            yield note("connection", "can be read; this kind of source does not examine itself")

    return _Examined(f"source {conn_id}", list(survived("connect", findings())))


def _destination(conn_id: str, inquiry: Inquiry) -> _Examined:
    from airflow_elt_provider.cli.systems import destination
    from airflow_elt_provider.core.doctor import Diagnosable, survived
    from airflow_elt_provider.engine.doctor import examine_state

    def findings() -> Iterator[Finding]:
        system = destination(conn_id)
        if isinstance(system, Diagnosable):
            yield from system.diagnose(inquiry)
        yield examine_state(system)

    return _Examined(f"destination {conn_id}", list(survived("connect", findings())))


def _remote(conn_id: str) -> _Examined:
    from airflow_elt_provider.cli.remotes import ask
    from airflow_elt_provider.cli.systems import connection
    from airflow_elt_provider.core.doctor import checked

    return _Examined(f"remote {conn_id}", [checked("connect", lambda: ask(connection(conn_id)))])


def _stage(uri: str, arguments: argparse.Namespace) -> _Examined:
    from airflow_elt_provider.cli.systems import destination, stage
    from airflow_elt_provider.core.doctor import survived
    from airflow_elt_provider.engine.doctor import examine_match, examine_stage

    def findings() -> Iterator[Finding]:
        made = stage(uri, arguments.stage_conn_id)
        with _unmade(uri):
            yield from examine_stage(made)
        for conn_id in arguments.destination:
            yield examine_match(made, destination(conn_id))

    return _Examined(f"stage {uri}", list(survived("open", findings())))


@contextmanager
def _unmade(uri: str) -> Iterator[None]:
    """Remove the folders that a local stage is made of and that were not there before."""
    from airflow_elt_provider.stages.uri import folder_path

    folder = folder_path(uri) if uri.startswith("file:") else Path("/")
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    finally:
        with suppress(OSError):  # somebody has put something into one of them
            for each in new:
                each.rmdir()


def _any_connection(conn_id: str) -> _Examined:
    """Examine a connection of which nobody said what it is for: whether it can be used at all."""
    from airflow_elt_provider.cli.systems import connection
    from airflow_elt_provider.core.doctor import Inquiry, note, refused
    from airflow_elt_provider.registry import remote_kinds, systems

    try:
        conn_type = connection(conn_id).conn_type
    except EltError as error:
        return _Examined(f"connection {conn_id}", [refused("read", error)])
    rows = [row for row in systems() if conn_type in row.conn_types and not row.files]
    if any(row.source for row in rows):
        return _source(conn_id, Inquiry())
    if any(row.destination for row in rows):
        return _destination(conn_id, Inquiry())
    if any(row.conn_type == conn_type for row in remote_kinds()):
        return _remote(conn_id)
    if any(conn_type in row.conn_types for row in systems()):
        text = "leads to files: name a place to have it tried"
        finding = note(conn_type, text, f"elt doctor --stage URI --stage-conn-id {conn_id}")
    else:
        finding = note(conn_type, "no system of this package; not examined")
    return _Examined(f"connection {conn_id}", [finding])


# --- text ---


def _text(examined: list[_Examined], problems: int) -> str:
    from airflow_elt_provider.cli.terminal import colours

    coloured = colours(sys.stdout)
    lines = []
    for each in examined:
        lines.append(each.subject)
        lines += [line for finding in each.findings for line in _lines(finding, coloured=coloured)]
        lines.append("")
    lines.append("all is well" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
    return "\n".join(lines)


def _lines(finding: Finding, *, coloured: bool) -> Iterator[str]:
    word = f"{finding.verdict.value:<7}"
    shown = f"\x1b[{_COLOURS[finding.verdict.value]}m{word}\x1b[0m" if coloured else word
    yield f"  {shown}  {finding.check}" + (f": {finding.detail}" if finding.detail else "")
    if finding.remedy:
        yield f"  {'':<7}  remedy: {finding.remedy}"
