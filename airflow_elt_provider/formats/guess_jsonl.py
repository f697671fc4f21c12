"""JSON lines: columns and types from the objects of a sample."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from airflow_elt_provider.errors import DataError
from airflow_elt_provider.formats.guess_column import TEXT, ColumnGuess, guess_type
from airflow_elt_provider.formats.json_object import refuse_no_lines

_TRIED: Final = 5
_DOCUMENT: Final = re.compile(r'\[\s*\{\s*(?:"[^"\r\n]*"\s*:|\})|\{[ \t]*\r?\n\s*"[^"\r\n]*"\s*:')
"""How an array of objects begins, and an object over several lines."""


def is_jsonl(text: str, *, whole: bool) -> bool:
    """Whether the first lines are JSON objects."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not whole and len(lines) > 1:
        lines.pop()
    return bool(lines) and all(_object(line) is not None for line in lines[:_TRIED])


def begins_jsonl(text: str) -> bool:
    """Whether the first line is a JSON object: enough for a file whose name says that all of them are."""
    return _object(next((line for line in text.split("\n") if line.strip()), "")) is not None


def refuse_document(name: str, text: str, *, named: bool) -> None:
    """Refuse JSON that is one array or object, over one line or several: it is no CSV, whatever commas it has.

    :param text: the beginning of the file, or all of it.
    :param named: whether the file's name says that it is JSON.
    :raises DataError: with the remedy.
    """
    start = text.lstrip()
    if (named and start[:1] in {"{", "["}) or _DOCUMENT.match(start) or _is_list(start):
        refuse_no_lines(name, next(iter(start.splitlines())))
    if named and start.startswith("{"):
        raise DataError(
            f"{name} has no JSON object on its first line.",
            hint="write one object on each line, e.g. with jq -c .",
        )


def _is_list(text: str) -> bool:
    """Whether a text is a list, all of it."""
    try:
        return text.startswith("[") and isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def jsonl_columns(texts: Sequence[str], last: Sequence[bool]) -> tuple[list[ColumnGuess], int]:
    """Return the columns of all objects, in the order in which they come, and how many objects there are."""
    found = [each for text, end in zip(texts, last, strict=True) for each in _objects(text, end=end)]
    names = dict.fromkeys(name for each in found for name in each)
    return [_column(name, [each.get(name) for each in found]) for name in names], len(found)


def _objects(text: str, *, end: bool) -> Iterator[dict[str, Any]]:
    lines = text.split("\n")
    for line in lines if end else lines[:-1]:
        each = _object(line)
        if each is not None:
            yield each


def _object(line: str) -> dict[str, Any] | None:
    try:
        # Numbers stay as they are written.
        found = json.loads(line, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _column(name: str, values: Sequence[Any]) -> ColumnGuess:
    there = [value for value in values if value is not None]
    kinds = {_kind(value) for value in there}
    texts = Counter(_text(value) for value in there)
    if kinds == {"text"}:
        guess = guess_type(name, texts)
        if not re.match(r"date|time|uuid", guess.type):  # what is written as a text is meant as one
            guess = replace(guess, type=TEXT, why="texts", time_format="")
    elif len(kinds) == 1 or not there:
        guess = guess_type("", texts)
    elif kinds <= {"object", "number", "boolean"}:
        guess = replace(guess_type(name, Counter()), type="json", confidence=0.8, why="values of several JSON types")
    else:
        guess = replace(guess_type(name, Counter()), type=TEXT, confidence=0.6, why="texts and other values, mixed")
    empty = (len(values) - len(there)) / len(values) if values else 0.0
    unique = len(values) > 1 and len(texts) == len(values)
    return replace(guess, name=name, nulls=round(empty, 4), unique=unique)


def _kind(value: Any) -> str:
    if isinstance(value, _Number):
        return "number"
    if isinstance(value, str):
        return "text"
    return "boolean" if isinstance(value, bool) else "object"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
