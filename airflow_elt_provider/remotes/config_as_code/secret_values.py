"""Secrets in configuration: never in a file; a reference stands in their place, or the word that there is one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, TypeAlias

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

Lookup: TypeAlias = Callable[[str], Secret]
"""Gives the value of a reference; raises ConfigurationError for one that leads nowhere."""
MARK: Final = "$secret"
NOT_EXPORTED: Final = "not exported"
HINT: Final = (
    "write {$secret: 'conn:<conn_id>.password'}, {$secret: 'conn:<conn_id>.extra.<key>'} or {$secret: 'var:<name>'}: "
    "an Airflow connection or variable, from whatever secrets backend"
)
_MASK: Final = re.compile(r"\*{4,}")
_NAMES: Final = re.compile(
    r"(^|[_\-.])(?<!max_)(?<!has_)(?<!use_)(?<!is_)"
    r"((db)?pass(word|wd|phrase|code)?|pwd|secret([_-]?access[_-]?key)?|token|bearer|jwt|pat|credential|authorization|"
    r"cookie|sig|hmac[_-]?key|connection[_-]?string|sas[_-]?url|service[_-]?account[_-]?(json|key|info)|pem|"
    r"(api|access|account|app|auth|certificate|client|deploy|decryption|encryption|license|master|pem|private|rsa|"
    r"secret|security|service|shared|signing|ssh|ssl|subscription|write)[_-]?key)"
    r"s?([_-]?(json|pem|string|text|value|base64|[0-9]{1,2})){0,2}$",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHAPES: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----"
    r"|\"private_key\"\s*:"
    r"|\b[A-Za-z][A-Za-z0-9+.\-]{0,30}://[^/\s:@]*:[^/\s@]+@"  # a URL with a password
    r"|\beyJ[A-Za-z0-9_\-]{8,300}\.eyJ[A-Za-z0-9_\-]{8,}\."  # a JSON Web Token
    r"|\b(Basic|Bearer) +(?=[A-Za-z+/=._~\-]*[0-9])[A-Za-z0-9+/=._~\-]{16,}"
    r"|\b(AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[A-Za-z0-9_\-]{35}|\bGOCSPX-[A-Za-z0-9_\-]{20,}|\bya29\.[A-Za-z0-9_\-]{20,}"  # Google
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{22,}|\bglpat-[A-Za-z0-9_\-]{20,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/(services|workflows|triggers)/[A-Za-z0-9/]{8,}"
    r"|\b(sk|rk)_(live|test)_[A-Za-z0-9]{16,}|\bshp(at|ca|pa|ss)_[A-Fa-f0-9]{32}|\bdapi[0-9a-f]{32}"
    r"|\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"
)
_ASSIGNED: Final = re.compile(
    r"(?<![\w.\-])([\w.\-]{1,60})=(?=[^\s&;{$%<])"  # ?api_key=..., ;password=...
    r"|\"([\w.\-]{1,60})\"\s{0,9}:\s{0,9}\"(?=[^\"{$%<])"  # JSON in a text
)
_LABELS: Final = ("name", "key", "header", "header_name")
"""What tells the name of a ``value`` that stands beside it, as lists of headers have it."""
_REFERENCE: Final = re.compile(r"conn:[^.\s]+\.(password|login|host|extra(\.[^\s]+)?)|var:\S+")


def is_mark(value: Any) -> bool:
    """Whether a value stands for a secret."""
    return isinstance(value, Mapping) and set(value) == {MARK}


def marked(value: Any, name: str = "") -> Any:
    """Return a value of a server with a mark in the place of every secret.

    A secret is what the server masks (``**********``), what has the name of one, or the form of one.

    :param name: key under which the value stands.
    """
    if is_mark(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): marked(one, _name_of(str(key), value)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [marked(one, name) for one in value]
    return {MARK: NOT_EXPORTED} if _is_secret(value, name) else value


def looks_secret(text: str) -> bool:
    """Whether a text holds something that has the form of a secret: a private key, a URL with a password, a token."""
    return bool(_SHAPES.search(text))


def _is_secret(value: Any, name: str) -> bool:
    if not isinstance(value, str) or not value:
        return False
    if _MASK.fullmatch(value) or looks_secret(value):
        return True
    return _names_secret(name) or any(_names_secret(one or other) for one, other in _ASSIGNED.findall(value))


def _names_secret(name: str) -> bool:
    return bool(_NAMES.search(_CAMEL.sub("_", name)))


def _name_of(key: str, beside: Mapping[Any, Any]) -> str:
    """Return what a value is called: its key, or what ``{name: X-Api-Key, value: ...}`` says."""
    if key != "value":
        return key
    labels = [str(beside[label]) for label in _LABELS if label in beside]
    return next(filter(_names_secret, labels), key)


def references(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every mark."""
    if is_mark(value):
        yield path, str(value[MARK])
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from references(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, one in enumerate(value):
            yield from references(one, f"{path}[{number}]")


def refuse_unreadable(value: Any, place: str) -> None:
    """Refuse a mark that is no reference, and a secret that stands in the open.

    :param place: the file, for messages.
    :raises ConfigurationError: names the place, not the value.
    """
    refuse_no_reference(value, place)
    for path, _ in _in_the_open(value):
        raise ConfigurationError(f"{place}: {path} holds a secret in the open.", hint=HINT)


def refuse_no_reference(value: Any, place: str) -> None:
    """Refuse a mark that is no reference. :raises ConfigurationError: names the place."""
    for path, text in references(value):
        if text != NOT_EXPORTED and not _REFERENCE.fullmatch(text):
            raise ConfigurationError(f"{place}: the secret at {path} is no reference.", hint=HINT)


def _in_the_open(value: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    if is_mark(value):
        return
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _in_the_open(one, f"{path}.{key}" if path else str(key), _name_of(str(key), value))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _in_the_open(one, f"{path}[{number}]", name)
    elif _is_secret(value, name):
        yield path, name


def with_references(value: Any, earlier: Any) -> Any:
    """Return a server's values with the references that an earlier file had in the place of their marks."""
    if is_mark(value):
        return earlier if is_mark(earlier) else value
    if isinstance(value, Mapping) and isinstance(earlier, Mapping):
        return {key: with_references(one, earlier.get(key)) for key, one in value.items()}
    if isinstance(value, list) and isinstance(earlier, list):
        return [with_references(one, other) for one, other in zip(value, _partners(value, earlier), strict=True)]
    return value


def _partners(items: Sequence[Any], earlier: Sequence[Any]) -> list[Any]:
    """Return what each item of a list was before, None where that is not certain: equal but for its secrets.

    Of lists of one length, a single item that changed is the one that was left over.
    """
    now, before = [_bare(one) for one in items], [_bare(one) for one in earlier]
    alike = len(now) == len(before)
    found: list[int | None] = []
    for place, text in enumerate(now):
        if alike and text == before[place]:
            found.append(place)
        else:
            found.append(before.index(text) if now.count(text) == 1 == before.count(text) else None)
    left = set(range(len(before))) - set(found)
    if alike and len(left) == 1:
        found = [left.pop() if place is None else place for place in found]
    return [None if place is None else earlier[place] for place in found]


def _bare(value: Any) -> str:
    """Return a value as a text in which all secrets are alike."""
    return json.dumps(_blank(value), sort_keys=True, default=str)


def _blank(value: Any) -> Any:
    if is_mark(value):
        return {MARK: ""}
    if isinstance(value, Mapping):
        return {key: _blank(one) for key, one in value.items()}
    return [_blank(one) for one in value] if isinstance(value, list | tuple) else value


def unkept(wanted: Any, present: Any, path: str) -> Iterator[str]:
    """Yield the places of secrets that were not exported, and that the server cannot keep either.

    It keeps those of an item of a list only where the item is at its place, and else as it was.

    :param present: the server's values, secrets marked; whatever is no value of JSON: it has none.
    """
    if is_mark(wanted):
        if wanted[MARK] == NOT_EXPORTED and not isinstance(present, str | int | float | Mapping):
            yield path
    elif isinstance(wanted, Mapping):
        has = present if isinstance(present, Mapping) and not is_mark(present) else {}
        for key, one in wanted.items():
            yield from unkept(one, has.get(key), f"{path}.{key}")
    elif isinstance(wanted, list):
        has_items = present if isinstance(present, list) else []
        for number, one in enumerate(wanted):
            if number >= len(has_items) or _bare(one) != _bare(has_items[number]):
                yield from unkept(one, None, f"{path}[{number}]")


def settled(wanted: Any, present: Any) -> Any:
    """Return wanted values in which references to what the server has already are ``not exported``: it keeps it.

    Nobody can compare a secret, and so none is written by the way. In a list that is kept where the item is at its
    place, and else as it was.

    :param present: the server's values, secrets marked.
    """
    if is_mark(wanted):
        return {MARK: NOT_EXPORTED} if isinstance(present, str | int | float | Mapping) else wanted
    if isinstance(wanted, Mapping):
        has = present if isinstance(present, Mapping) and not is_mark(present) else {}
        return {key: settled(one, has.get(key)) for key, one in wanted.items()}
    if isinstance(wanted, list) and isinstance(present, list):
        same = [_bare(one) == _bare(other) for one, other in zip(wanted, present, strict=False)]
        kept = [settled(one, other) if held else one
                for one, other, held in zip(wanted, present, same, strict=False)]  # fmt: skip
        return [*kept, *wanted[len(kept) :]]
    return wanted


def extra_at(extra: Any, key: str) -> Any:
    """Return what ``conn:<id>.extra.<key>`` finds: a key may have dots in it, or lead further down; None for nothing.

    >>> extra_at({"a.b": 1, "c": {"d": 2}}, "c.d")
    2

    :param key: "" for all of it.
    """
    if not key:
        return extra or None
    if not isinstance(extra, Mapping):
        return None
    if key in extra:
        return extra[key]
    first, dot, rest = key.partition(".")
    return extra_at(extra.get(first), rest) if dot else None


def resolved(value: Any, lookup: Lookup) -> Any:
    """Return values with a :class:`Secret` in the place of every reference; ``not exported`` stays marked."""
    if is_mark(value):
        return value if value[MARK] == NOT_EXPORTED else lookup(str(value[MARK]))
    if isinstance(value, Mapping):
        return {key: resolved(one, lookup) for key, one in value.items()}
    return [resolved(one, lookup) for one in value] if isinstance(value, list) else value


def unmarked(value: Any, present: Any) -> Any:
    """Return values as they are sent: secrets revealed, and for what is still marked whatever the server gave there.

    :param present: the server's own values: its mask, sent back, leaves a secret as it is. Where it has none the key
        is left out.
    :raises ConfigurationError: for an item of a list that stands for a secret, and the server has none.
    """
    if isinstance(value, Secret):
        return value.reveal()
    if is_mark(value):
        return present
    if isinstance(value, Mapping):
        has = present if isinstance(present, Mapping) else {}
        return {key: unmarked(one, has.get(key)) for key, one in value.items() if not is_mark(one) or key in has}
    if isinstance(value, list):
        others = [*(present if isinstance(present, list) else ()), *repeat(None, len(value))]
        if any(is_mark(one) and other is None for one, other in zip(value, others, strict=False)):
            raise ConfigurationError("A list holds a secret that was not exported.", hint=HINT)
        return [unmarked(one, other) for one, other in zip(value, others, strict=False)]
    return value
