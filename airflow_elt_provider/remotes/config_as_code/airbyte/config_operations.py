"""What follows a sync in Airbyte: normalization, dbt and webhooks. Of 0.40; today's servers know but webhooks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.remotes.config_as_code.secret_values import MARK, NOT_EXPORTED, marked, unmarked
from airflow_elt_provider.remotes.flow import JsonObject

KINDS: Final = ("normalization", "dbt", "webhook")
_SECRET: Final = ("execution_url", "execution_body")
"""Of a webhook: whoever knows them can call it."""
_OF_THE_SERVER: Final = ("webhook_config_id",)
"""What no other server knows; it stays as it is."""
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SNAKE: Final = re.compile(r"_([a-z0-9])")


def operations_of(reads: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """Return the operations of a connection: ``{name, normalization: basic}``, ``{name, dbt: {...}}``.

    :param reads: ``OperationRead`` objects, in any order.
    """
    found = [_operation(one) for one in reads]
    return sorted(found, key=lambda one: ([kind in one for kind in KINDS].index(True), str(one["name"])))


def configuration_of(operation: Mapping[str, Any], present: Mapping[str, Any] | None) -> JsonObject:
    """Return the ``operatorConfiguration`` of an operation.

    :param present: that of the same name which the connection has: a secret that is still marked is its.
    """
    kind = next(kind for kind in KINDS if kind in operation)
    if kind == "normalization":
        return {"operatorType": kind, kind: {"option": str(operation[kind])}}
    before = _renamed((present or {}).get(kind) or {}, _snake)
    kept = {name: before[name] for name in _OF_THE_SERVER if before.get(name)}
    return {"operatorType": kind, kind: _renamed({**kept, **unmarked(operation[kind], before)}, _camel)}


def same(one: Any, other: Any) -> bool:
    """Whether two configurations are the same; what is null is not there."""
    return bool(_without_nulls(one) == _without_nulls(other))


def wrong_operations(operations: Any) -> list[str]:
    """Return what is wrong with the operations of a file."""
    if not isinstance(operations, list):
        return [f"operations is {operations!r}. Remedy: write a list"]
    return [
        f"operations[{number}] is none. Remedy: it has a name, and one of {', '.join(KINDS)}"
        for number, one in enumerate(operations)
        if not isinstance(one, Mapping) or not one.get("name") or sum(kind in one for kind in KINDS) != 1
    ]


def _operation(read: Mapping[str, Any]) -> JsonObject:
    given = read["operatorConfiguration"]
    kind = str(given["operatorType"])
    inside = _renamed(_without_nulls(given.get(kind) or {}), _snake)
    if kind == "normalization":
        return {"name": read["name"], kind: inside.get("option") or "basic"}
    value = {name: one for name, one in marked(inside).items() if name not in _OF_THE_SERVER}
    value |= {name: {MARK: NOT_EXPORTED} for name in _SECRET if value.get(name)}
    return {"name": read["name"], kind: value}


def _renamed(value: Any, rename: Any) -> Any:
    if isinstance(value, Mapping):
        return {rename(str(name)): _renamed(one, rename) for name, one in value.items()}
    return value


def _snake(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def _camel(name: str) -> str:
    return _SNAKE.sub(lambda found: found[1].upper(), name)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return value
