"""What an Airbyte server says when it will not take a value, without the secrets that were sent to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.airbyte_config import unexpected
from airflow_elt_provider.remotes.flow import Answer, Flow, Request
from airflow_elt_provider.remotes.session import Session

_SAID: Final = ("message", "detail", "title")
_BAD, _TIMEOUT = 400, 408
_MOST: Final = 400


def refused(what: str, answer: Answer, *, hint: str = "") -> EltError:
    """Return the error for an answer that is no success.

    :param what: completes "Airbyte refuses ...", e.g. ``source 'shop'``.
    """
    if answer.status < _BAD or answer.status == _TIMEOUT:
        return unexpected(answer)
    said = _words(answer)
    if "try-again-later" in answer.text:
        return TransientError(f"Airbyte refuses {what} for now ({answer.status}): {said}")
    return ConfigurationError(
        f"Airbyte refuses {what} ({answer.status}): {said}", hint=hint or "correct the value that it names"
    )


def asked(session: Session, request: Request, values: Any) -> Flow[Answer]:
    """Ask; neither the answer nor an error repeats a secret of what was sent.

    :param values: what was sent, with :class:`~airflow_elt_provider.core.secret.Secret` in it.
    """
    return (yield from session.ask(replace(request, secrets=tuple(_secrets(values)))))


def _secrets(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _secrets(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _secrets(one)


def _words(answer: Answer) -> str:
    """Return the most telling of the server's words."""
    text = " ".join(answer.text.split())
    try:
        value = json.loads(answer.content)
    except (ValueError, RecursionError):
        return text[:_MOST]
    if not isinstance(value, dict):
        return text[:_MOST]
    inner = value.get("data") if isinstance(value.get("data"), dict) else {}
    found = [
        str(place[name]) for place in (inner, value) for name in _SAID if isinstance(place, dict) and place.get(name)
    ]
    problems = value.get("validationErrors")
    return " ".join([*found[:2], *([json.dumps(problems)] if problems else [])])[:_MOST] or text[:_MOST]
