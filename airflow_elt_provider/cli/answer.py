"""What a command has to say in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider.errors import EltError

_PLAIN: Final = {None: "", True: "yes", False: "no"}


@dataclass(frozen=True)
class Answer:
    """The result of a command, for a machine and for a person.

    :param document: what ``--json`` prints: values of JSON.
    :param text: what is printed without it.
    :param exit_code: where there is a result and it is not good, or 0.
    :param problem: why it is not good; it is said on standard error, and decides about the exit code.
    """

    document: Any
    text: str
    exit_code: int = 0
    problem: EltError | None = None


def lines_of(document: dict[str, Any]) -> str:
    """Return a document for a person: a line for each value that says something."""
    width = max(map(len, document), default=0)
    said = ((name, _said(value)) for name, value in document.items())
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {text}" for name, text in said if text)


def _said(value: Any) -> str:
    match value:
        case None | bool():
            return _PLAIN[value]
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case dict():
            return ", ".join(f"{name} {_said(item)}" for name, item in value.items())
        case list() | tuple():
            return ("; " if any(isinstance(item, dict) for item in value) else ", ").join(map(_said, value))
    return str(value)
