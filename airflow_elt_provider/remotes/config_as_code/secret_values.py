"""Secrets in configuration: never in a file; a reference stands in their place, or the word that there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    r"(^|[_\-.])(pass(word|wd|phrase)?|pwd|secret(s|[_-]?(key|access[_-]?key|value))?|token|api[_-]?key|access[_-]?key|"
    r"private[_-]?key|client[_-]?secret|credentials?([_-]?json)?|service[_-]?account[_-]?(json|key|info)|hmac[_-]?key|"
    r"sas[_-]?token|connection[_-]?string|authorization|cookie|signing[_-]?key|encryption[_-]?key|ssh[_-]?key)$",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHAPES: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\"private_key\"\s*:"
    r"|\b[a-z][a-z0-9+.\-]{0,30}://[^/\s:@]*:[^/\s@]+@"  # a URL with a password
    r"|\beyJ[A-Za-z0-9_\-]{8,1000}\.eyJ[A-Za-z0-9_\-]{8,}\."  # a JSON Web Token
    r"|\b(AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
)
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
        return {str(key): marked(one, str(key)) for key, one in value.items()}
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
    return bool(_NAMES.search(_CAMEL.sub("_", name)))


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
    for path, text in references(value):
        if text != NOT_EXPORTED and not _REFERENCE.fullmatch(text):
            raise ConfigurationError(f"{place}: the secret at {path} is no reference: {text[:40]!r}.", hint=HINT)
    for path, _ in _in_the_open(value):
        raise ConfigurationError(f"{place}: {path} holds a secret in the open.", hint=HINT)


def _in_the_open(value: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    if is_mark(value):
        return
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _in_the_open(one, f"{path}.{key}" if path else str(key), str(key))
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
    if isinstance(value, list) and isinstance(earlier, list) and len(value) == len(earlier):
        return [with_references(one, other) for one, other in zip(value, earlier, strict=True)]
    return value


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
    """
    if isinstance(value, Secret):
        return value.reveal()
    if is_mark(value):
        return present
    if isinstance(value, Mapping):
        has = present if isinstance(present, Mapping) else {}
        return {key: unmarked(one, has.get(key)) for key, one in value.items() if not is_mark(one) or key in has}
    if isinstance(value, list):
        others = present if isinstance(present, list) and len(present) == len(value) else [None] * len(value)
        return [unmarked(one, other) for one, other in zip(value, others, strict=True)]
    return value
