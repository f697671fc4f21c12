"""A JSON object as it stands in a file: nothing becomes a float, nothing is dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from json import scanner
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final, NoReturn

from airflow_elt_provider.errors import DataError

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_QUOTE: Final = '"'


class NoObjectError(ValueError):
    """A text is no JSON object that can be meant.

    :param reason: holds no value of it.
    """

    def __init__(self, reason: str, hint: str = "correct the file") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def refuse_no_lines(name: str, text: str) -> None:
    """Refuse the beginning of a JSON array, or of an object over several lines.

    :raises DataError: with what makes JSON lines of it.
    """
    if text.lstrip().startswith("["):
        raise DataError(
            f"{name} is a JSON array, and not JSON lines: one object on each line.",
            hint="write it so, e.g. with jq -c '.[]'",
        )
    if text.strip() in {"{", "{}"}:
        raise DataError(
            f"{name} is JSON over several lines, and not JSON lines: one object on each line.",
            hint="write it so, e.g. with jq -c .",
        )


def read_object(text: str, raw: Collection[str] = ()) -> dict[str, str | None]:
    """Return key -> its value as text; ``null`` is None.

    A string means its characters; everything else means what stands there.

    :param raw: keys whose strings are wanted as they stand, too, in quotes.
    :raises NoObjectError: for anything else, a key that comes twice, and numbers that JSON does not have.
    """
    try:
        found = _FLAT.decode(text)
        if not isinstance(found, dict):
            raise NoObjectError("is no JSON object")
        kinds = {*map(type, found.values())}
        if not raw and kinds <= _PLAIN:
            return found
        if not raw and kinds <= _NEARLY:
            return {name: _BOOLEANS.get(value, value) for name, value in found.items()}
        return {
            name: None if told == "null" else told if name in raw or told[0] != _QUOTE else found[name]
            for name, told in _slices(text).items()
        }
    except RecursionError as error:
        raise NoObjectError("is no JSON object: it is nested too deep") from error
    except json.JSONDecodeError as error:
        raise NoObjectError(f"is no JSON object: {error.msg} at character {error.pos + 1}") from error


def _slices(text: str) -> dict[str, str]:
    """Return key -> its value as it stands, of a text that is known to be an object."""
    skip = _BLANK.match
    found: dict[str, str] = {}
    at = _end(skip(text, _end(skip(text, 0)) + 1))
    while text[at] == _QUOTE:
        key, at = scanstring(text, at + 1, True)  # noqa: FBT003 - its signature
        start = _end(skip(text, _end(skip(text, at)) + 1))
        _, at = _SCAN(text, start)
        found[key] = text[start:at]
        at = _end(skip(text, _end(skip(text, at)) + 1))
        if at >= len(text):
            break
    return found


def _end(found: re.Match[str] | None) -> int:
    return found.end() if found else 0


def _refuse(constant: str) -> NoReturn:
    raise NoObjectError(f"has {constant}, which JSON does not know")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NoObjectError(f"has the key {twice!r} twice")
    return found


_FLAT: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse, object_pairs_hook=_once)
_SCAN: Final[Any] = scanner.make_scanner(_FLAT)  # type: ignore[arg-type]
_PLAIN: Final = {str, type(None)}
_NEARLY: Final = {*_PLAIN, bool}
_BOOLEANS: Final[dict[Any, str]] = {True: "true", False: "false"}
