"""What the operators of remote configuration read from parameters, and what they say."""

from __future__ import annotations

import ast
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._remote_values import rendered

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.config_as_code.apply import Applied
    from airflow_elt_provider.remotes.config_as_code.changes import DiffResult
    from airflow_elt_provider.remotes.config_as_code.plan import Plan

log = logging.getLogger(__name__)

_SHOWN: Final = 10
_FIELDS: Final = 3
_EVERY_SECONDS: Final = 10.0


class Told:
    """Says in the log how far a long reading is, now and then."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say it, if the last word is some seconds old."""
        if time.monotonic() - self._said >= _EVERY_SECONDS:
            self._said = time.monotonic()
            log.info("%s: %s of %s", what, done, total)


def refuse_unknown(name: str, value: Any, words: Sequence[str]) -> None:
    """Refuse a word that there is not.

    :raises ConfigurationError: lists those that there are.
    """
    if value not in words:
        raise ConfigurationError(f"{name}={value!r} is unknown.", hint=f"one of {', '.join(words)}")


def names_of(name: str, value: Any) -> list[str] | None:
    """Return names that a parameter or its template gives: a list, its JSON, or one name; None for none.

    :raises ConfigurationError: for anything else.
    """
    if value is None or value in ("", "None"):
        return None
    found = _read(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
    found = [found] if isinstance(found, str) and not found.lstrip().startswith("[") else found
    if isinstance(found, list | tuple) and all(isinstance(one, str) and one.strip() for one in found):
        return list(found)
    raise ConfigurationError(f"{name}={value!r} is no list of names.", hint=f"write {name}=['Production']")


def plan_of(value: Any) -> tuple[str | None, str]:
    """Return the JSON of a plan, or None and the URI where one is.

    :param value: a plan as JSON or read already, the result of a task that has one under ``plan``, or a URI.
    :raises ConfigurationError: for anything else.
    """
    text = value if isinstance(value, Mapping) else rendered("plan", value, "\"{{ ti.xcom_pull('plan')['plan'] }}\"")
    if isinstance(text, str) and "://" in text.partition("{")[0]:
        return None, text
    found = _read(text) if isinstance(text, str) else text
    if not isinstance(found, Mapping):
        raise ConfigurationError(
            f"plan={str(value)[:80]!r} is neither a plan nor a URI.", hint="e.g. plan='gs://config/plan.json'"
        )
    if isinstance(found.get("plan"), Mapping):
        found = found["plan"]
    return json.dumps(found), ""


def _read(text: str) -> Any:
    """Return what a text holds: JSON, or what a template makes of a list or mapping."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def exported(result: Mapping[str, Any]) -> str:
    """Return an export for a log."""
    counts = ", ".join(f"{number} of kind {kind}" for kind, number in result["objects"].items()) or "nothing"
    written, removed = result["written"], result["removed"]
    files = f"{len(written)} files written, {len(removed)} removed, {result['unchanged']} unchanged"
    head = f"Exported {counts} and {result['schemas']} schemas to {result['folder']}: {files}."
    lines = [head, *(f"  written: {path}" for path in written), *(f"  removed: {path}" for path in removed)]
    return "\n".join(lines)


def summary(found: DiffResult) -> str:
    """Return what differs in a few lines, for a message."""
    from airflow_elt_provider.remotes.config_as_code.changes import SIGNS
    from airflow_elt_provider.remotes.config_as_code.schema_lock import listing

    words = {"create": "added", "update": "changed", "delete": "removed"}
    counts = [f"{sum(one.action == action for one in found.differences)} {word}" for action, word in words.items()]
    drifted = {key: drifts for key, drifts in sorted(found.drifts.items()) if drifts}
    lines = []
    for one in found.differences:
        paths = [change.path for change in one.fields] if one.action == "update" else []
        lines.append(f"{SIGNS[one.action]} {one.key}{_paths(paths)}")
    lines += [
        f"~ schema of {key}: {listing(drifts[:_FIELDS])}{_more(drifts, _FIELDS)}" for key, drifts in drifted.items()
    ]
    head = ", ".join([*counts, *([f"{len(drifted)} schemas drifted"] if drifted else [])])
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([f"{head}:", *lines[:_SHOWN], *more])


def _paths(paths: Sequence[str]) -> str:
    return f": {', '.join(paths[:_FIELDS])}{_more(paths, _FIELDS)}" if paths else ""


def _more(items: Sequence[object], shown: int) -> str:
    return f" and {len(items) - shown} more" if len(items) > shown else ""


def applied(plan: Plan, done: Applied) -> dict[str, Any]:
    """Return what was planned and done, as XCom shows it."""
    return {
        "plan": plan.to_json(),
        "done": list(done.done),
        "found_done": [key.named() for key in done.found_done],
        "not_taken": list(done.not_taken),
    }
