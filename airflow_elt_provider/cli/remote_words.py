"""What ``elt remote`` says to a person, and the files that its plans are kept in."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from airflow_elt_provider.cli import output
from airflow_elt_provider.cli.terminal import colours, talking
from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.config_as_code.apply import Applied
    from airflow_elt_provider.remotes.config_as_code.changes import DiffResult
    from airflow_elt_provider.remotes.config_as_code.plan import Plan

_COLOURS: Final = {"+": "32", "~": "33", "-": "31", "!": "31"}
_SIGNED: Final = re.compile(r"^  ([+~!-]) .*$", re.MULTILINE)
_LOOK: Final = 0.2
"""Seconds between two looks whether an answer is there, or the command was told to stop."""


def coloured(text: str, stream: IO[str] | None) -> str:
    """Return a text with its signs in colours, where a terminal wants them."""
    if not colours(stream):
        return text
    return _SIGNED.sub(lambda line: f"\x1b[{_COLOURS[line[1]]}m{line[0]}\x1b[0m", text)


def diff_text(result: DiffResult, server: str, folder: str) -> str:
    """Return how a server differs from its files, as a person reads it."""
    if result.equal:
        return f"{server} is as {folder} says."
    words = {"create": "only on the server", "update": "changed", "delete": "only in the files"}
    counts = [f"{sum(one.action == action for one in result.differences)} {word}" for action, word in words.items()]
    if moved := sum(map(bool, result.drifts.values())):
        counts.append(f"{moved} with another schema")
    return "\n".join([f"{server} differs from {folder}: {', '.join(counts)}", *result.lines()])


def applied_text(plan: Plan, applied: Applied) -> str:
    """Return what was done, as a person reads it."""
    head = f"{plan.remote} at {plan.server}: "
    lines = [f"{head}{len(applied.done)} done" if plan.changes else f"{head}nothing to do"]
    lines += [f"  {one}" for one in applied.done]
    if applied.found_done:
        lines += ["Done before:", *(f"  {key}" for key in applied.found_done)]
    if applied.not_taken:
        lines += ["The server did not take over:", *(f"  ! {value}" for value in applied.not_taken)]
    if plan.left_alone:
        lines.append(f"{len(plan.left_alone)} only on the server, left alone (see --allow-delete)")
    if plan.differing:
        lines.append("There already and not as the files say, left alone (elt remote apply changes it):")
        lines += [f"  {key}" for key in plan.differing]
    return "\n".join(lines)


def applied_json(plan: Plan, applied: Applied, folder: str) -> dict[str, Any]:
    """Return what was done, as ``--json`` shows it."""
    return {
        "remote": plan.remote,
        "server": plan.server,
        "folder": folder,
        "done": list(applied.done),
        "found_done": [key.named() for key in applied.found_done],
        "not_taken": list(applied.not_taken),
        "left_alone": [key.named() for key in plan.left_alone],
        "differing": [key.named() for key in plan.differing],
    }


# --- plan files ---


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan file that its owner alone can read; a reader sees the old one or the new.

    :raises ConfigurationError: where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    text = json.dumps(plan.to_json(), indent=2, ensure_ascii=False) + "\n"
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(handle, "w", encoding="utf-8", errors="surrogatepass") as file:  # noqa: PTH123 - a handle
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The plan cannot be written to {path}: {error.strerror}.", hint="name a file in a folder of yours"
        ) from None


def read_plan(path: Path) -> Plan:
    """Return the plan that a file holds.

    :raises ConfigurationError: where there is none.
    """
    from airflow_elt_provider.remotes.config_as_code.plan import Plan

    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The plan {path} cannot be read: {error.strerror}.", hint="make one with `elt remote plan --out`"
        ) from None
    return Plan.from_json(text, str(path))


# --- questions ---


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def show(text: str) -> None:
    """Write a text to standard error, before anything is done."""
    with talking():
        output.say_aside(coloured(text, sys.stderr))


def agreed(question: str, stop_here: Callable[[], None]) -> bool:
    """Ask on the terminal; only ``yes`` is one.

    :param stop_here: ends the command when it was told to stop.
    """
    with talking():
        sys.stderr.write(f"{question} Only 'yes' is taken for one: ")
        sys.stderr.flush()
        while not select.select([sys.stdin], [], [], _LOOK)[0]:
            stop_here()
        return sys.stdin.readline().strip() == "yes"
