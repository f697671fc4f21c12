"""What a plan file has to look like: somebody may have edited it, cut it off, or named another file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FORMAT: Final = 1
_TEXTS: Final = 3
_VALUES: Final = {"create": (False, True), "update": (True, True), "delete": (True, False)}
"""Whether there are values before, and values that are wanted."""


def refuse_odd(value: Any) -> None:
    """Refuse a JSON value that is no plan.

    :raises ValueError: says the place, and what is wrong there.
    """
    _refuse_unless(isinstance(value, Mapping), "it is no mapping")
    found = value.get("format")
    _refuse_unless(found == FORMAT and not isinstance(found, bool), f"format is {found!r}; this version reads {FORMAT}")
    for name in ("remote", "server"):
        _refuse_unless(isinstance(value.get(name), str), f"{name} is no text")
    for name in ("changes", "left_alone", "problems"):
        _refuse_unless(isinstance(value.get(name), list), f"{name} is no list")
    _refuse_unless(isinstance(value.get("differing", []), list), "differing is no list")
    new = value.get("new_workspaces", [])
    _refuse_unless(isinstance(new, list) and all(isinstance(one, str) for one in new), "new_workspaces are no texts")
    for number, one in enumerate(value["changes"]):
        _refuse_odd_change(one, f"changes[{number}]")
    for key in [*value["left_alone"], *value.get("differing", [])]:
        _refuse_unless(_is_key(key), f"{key!r} names no object")
    _refuse_unless(all(isinstance(one, str) for one in value["problems"]), "problems are no texts")


def _refuse_odd_change(one: Any, place: str) -> None:
    _refuse_unless(isinstance(one, Mapping), f"{place} is no mapping")
    _refuse_unless(isinstance(one.get("action"), str) and one["action"] in _VALUES, f"{place}.action is no change")
    _refuse_unless(_is_key(one.get("key")), f"{place}.key names no object")
    for name, needed in zip(("before", "wanted"), _VALUES[one["action"]], strict=True):
        is_there = isinstance(one.get(name), Mapping) if needed else one.get(name, 0) is None
        _refuse_unless(is_there, f"{place}.{name} is no {'mapping' if needed else 'null'}")
    fields = one.get("fields")
    _refuse_unless(isinstance(fields, list), f"{place}.fields is no list")
    for field in fields:
        shaped = isinstance(field, Mapping) and isinstance(field.get("path"), str)
        _refuse_unless(shaped, f"{place}.fields have one without a path")


def _is_key(value: Any) -> bool:
    return isinstance(value, list) and len(value) == _TEXTS and all(isinstance(one, str) for one in value)


def _refuse_unless(good: bool, said: str) -> None:  # noqa: FBT001
    if not good:
        raise ValueError(said)
