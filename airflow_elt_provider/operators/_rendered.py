"""Values that may still be templates, or may have come out of one as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

_T = TypeVar("_T", dict[str, Any], list[Any])


def is_template(value: Any) -> bool:
    """Say whether a value is known only once Airflow has rendered it: Jinja, a task's output, or a list with such."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, list | tuple):
        return any(is_template(item) for item in value)
    return hasattr(value, "iter_references") or hasattr(value, "resolve")


def reference(value: Any, parameter: str, upstream: str, example: str) -> dict[str, Any] | str:
    """Return what another step handed over: its JSON object, or a literal URI.

    :raises ConfigurationError: when the template rendered to nothing, or to something else.
    """
    if value is None or (isinstance(value, str) and value.strip() in {"", "None", "null"}):
        raise ConfigurationError(
            f"{parameter} rendered to None: there is no {upstream} run of this date whose output it could take "
            "(as under `airflow tasks test`, which runs one task alone).",
            hint=f"run the whole DAG (airflow dags test), or write the value itself: {parameter}={example}",
        )
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return _parsed(value.strip(), parameter, dict) if value.strip().startswith("{") else value.strip()
    raise ConfigurationError(f"{parameter}={value!r} cannot be meant.", hint=f"write {parameter}={example}")


def references(value: Any, parameter: str, upstream: str, example: str) -> list[dict[str, Any] | str]:
    """Return what one other task handed over, or what each instance of a mapped one did.

    :raises ConfigurationError: as :func:`reference`.
    """
    if isinstance(value, str) and value.strip().startswith("["):
        value = _parsed(value.strip(), parameter, list)
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        return [reference(value, parameter, upstream, example)]
    return [reference(item, parameter, upstream, example) for item in value]


def _parsed(text: str, parameter: str, kind: type[_T]) -> _T:
    """Read JSON, or the Python text that Jinja makes of a dict or a list."""
    for read, refusal in ((json.loads, ValueError), (ast.literal_eval, (ValueError, SyntaxError))):
        try:
            value = read(text)
        except refusal:
            continue
        if isinstance(value, kind):
            return value
    raise ConfigurationError(f"{parameter}={text!r} is not JSON.", hint="copy the line from the other task's log")


def table(value: Any, parameter: str) -> TableRef | None:
    """Return a table's name, or None where none was given.

    :raises ConfigurationError: when the name cannot be read, or a template rendered to ``None``.
    """
    if value is None or isinstance(value, TableRef):
        return value
    text = str(value)
    if text in {"", "None"}:
        raise ConfigurationError(f"{parameter} rendered to {text!r}.", hint="see what its template refers to")
    return TableRef.parse(text)


def span(value: timedelta | float | str, parameter: str) -> timedelta:
    """Return a span of time that may be given in days.

    :raises ConfigurationError: when it is neither a timedelta nor a number.
    """
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(days=float(value))
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{parameter}={value!r} is no span of time.", hint="give a timedelta, or a number of days"
        ) from None
