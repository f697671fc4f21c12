"""Commands and exit codes of ``elt``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from airflow_elt_provider.cli import output
from airflow_elt_provider.cli.answer import Answer
from airflow_elt_provider.cli.doctor import add_doctor
from airflow_elt_provider.cli.guess import add_guess
from airflow_elt_provider.cli.plan import add_plan
from airflow_elt_provider.cli.reconcile import add_reconcile
from airflow_elt_provider.cli.remote import add_remote
from airflow_elt_provider.cli.sync import add_sync
from airflow_elt_provider.cli.terminal import reporting
from airflow_elt_provider.cli.upkeep import add_gc, add_reset
from airflow_elt_provider.errors import ConfigurationError, DataError, EltError

EXIT_CONFIGURATION: Final = 2
EXIT_CONFIGURATION_OF_REMOTE: Final = 1
"""What 2 says of the other commands: ``elt remote`` says by it that two states differ, as ``diff`` does."""
EXIT_DATA: Final = 3
EXIT_TRANSIENT: Final = output.EXIT_TRANSIENT
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143

_EXIT_CODES: Final = ((ConfigurationError, EXIT_CONFIGURATION), (DataError, EXIT_DATA))
_COMMANDS: Final = (
    ("guess", add_guess, "say how the rows stand in a file, and print the task that loads it"),
    ("sync", add_sync, "bring one target table up to date"),
    ("plan", add_plan, "say what a sync would read, write and change, doing nothing"),
    ("reconcile", add_reconcile, "compare a target with its source, down to the keys"),
    ("remote", add_remote, "keep the configuration of Airbyte, Fivetran or Digdag in files, and bring it back"),
    ("doctor", add_doctor, "check connections, privileges and packages, and say what is missing"),
    ("reset", add_reset, "forget a stream's checkpoint: the next sync reads everything"),
    ("gc", add_gc, "delete stage files and staging tables that nobody needs any more"),
)
"""Name, what adds its arguments and sets ``run`` to a function that returns an :class:`Answer`, and help."""


class _Terminated(BaseException):
    """SIGTERM arrived."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **words: Any) -> None:
        super().__init__(allow_abbrev=False, **words)  # --js is no --json: scripts would break with the next option

    def _print_message(self, message: str, file: Any = None) -> None:
        with output.writing():  # argparse itself keeps quiet of an error
            print(message, end="", file=file or sys.stderr)

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{self.prog}: {message}.", hint=f"see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; they are listed in ``docs/cli.md``."""
    output.prepare()
    try:
        return _ended(sys.argv[1:] if argv is None else argv)
    except output.UnwrittenError as error:
        return error.end()


def _ended(words: Sequence[str]) -> int:
    as_json = "--json" in words  # also where the rest of the command cannot be read
    try:
        arguments = _parser().parse_args(words)
        with _signals(), reporting(quiet=arguments.quiet):
            answer = _run(arguments)
    except EltError as error:
        return _failed(error, _code(error, words), as_json=as_json)
    except KeyboardInterrupt:
        return _stopped("interrupted", EXIT_INTERRUPTED, words, as_json=as_json)
    except _Terminated:
        return _stopped("terminated", EXIT_TERMINATED, words, as_json=as_json)
    output.say(_json(answer.document) if as_json else answer.text)
    if answer.problem:
        output.say_aside(f"elt: {answer.problem}")
        return _code(answer.problem, words)
    return answer.exit_code


def _run(arguments: argparse.Namespace) -> Answer:
    """Run the command beside the main thread, which hears signals and then cancels what runs on the servers."""
    from airflow_elt_provider.cli.systems import cancel_all
    from airflow_elt_provider.engine.work import Work

    return Work[Answer](lambda: arguments.run(arguments), cancel_all).run()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="elt",
        description="Extract, stage and merge tables exactly once. Connections are read from AIRFLOW_CONN_<ID>, "
        "as a URI or JSON, the way Airflow reads them.",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="log warnings only, and draw no progress")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add, about in _COMMANDS:
        command = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        add(command)
        command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return parser


@contextmanager
def _signals() -> Iterator[None]:
    """Hear SIGTERM as Ctrl-C is heard."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- ends ---


def _of_remote(words: Sequence[str]) -> bool:
    """Whether a command is one of ``elt remote``, also where the rest of it cannot be read."""
    return next((word for word in words if not word.startswith("-")), "") == "remote"


def _code(error: EltError, words: Sequence[str]) -> int:
    code = next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), EXIT_TRANSIENT)
    return EXIT_CONFIGURATION_OF_REMOTE if code == EXIT_CONFIGURATION and _of_remote(words) else code


def _failed(error: EltError, code: int, *, as_json: bool) -> int:
    if as_json:
        about = {"kind": type(error).__name__, "message": error.message, "remedy": error.hint}
        output.say(_json({"error": about, "exit_code": code}))
    output.say_aside(f"elt: {error}")
    return code


def _stopped(how: str, code: int, words: Sequence[str], *, as_json: bool) -> int:
    if as_json:
        about = {"kind": "Stopped", "message": f"The command was {how}.", "remedy": "run it again"}
        output.say(_json({"error": about, "exit_code": code}))
    left = "the same command goes on from here" if _of_remote(words) else "what was not committed was rolled back"
    output.say_aside(f"elt: {how}; {left}")
    return code


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=not output.speaks_unicode())
