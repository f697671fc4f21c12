"""A Fivetran webhook as a file holds it: its name is its URL, without the secrets that a URL may hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec
from airflow_elt_provider.remotes.config_as_code.secret_values import HINT, MARK, NOT_EXPORTED, is_mark, marked

WEBHOOK: Final = KindSpec("webhook", "webhooks", ("url", "events", "active", "secret"), needed=frozenset({"events"}))
"""``url`` is there only where the URL holds a secret, which the name leaves out."""
_HIDDEN: Final = "***"
_RANDOM: Final = re.compile(
    r"(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{16}|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE
)
"""A part of a path that lets in whoever knows it."""
_PARAMETERS: Final = frozenset({"auth", "code", "hash", "key", "sig", "signature"})
"""Of a query: what else is a secret there, besides what has the name of one."""


def name_of_url(url: str) -> str:
    """Return the URL with ``***`` in the place of each secret: also of a path's part that nobody could have thought of.

    >>> name_of_url("https://user:pass@hooks.example/fivetran?code=abc&team=data")
    'https://***@hooks.example/fivetran?code=***&team=data'
    >>> name_of_url("https://hook.example/services/B02/9xyzabcdefghijklmn24")
    'https://hook.example/services/B02/***'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    host = f"{_HIDDEN}@{parts.netloc.rpartition('@')[2]}" if "@" in parts.netloc else parts.netloc
    query = "&".join(_without_secret(one) for one in parts.query.split("&"))
    path = "/".join(_HIDDEN if _RANDOM.search(one) else one for one in parts.path.split("/"))
    return urlunsplit(parts._replace(netloc=host, path=path, query=query))


def _without_secret(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    secret = value and (name.lower() in _PARAMETERS or is_mark(marked(value, name)))
    return f"{name}={_HIDDEN}" if secret else f"{name}{equals}{value}"


def webhook_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds of ``GET /v1/webhooks/{id}``."""
    hides = name_of_url(str(row["url"])) != row["url"]
    return {
        **({"url": {MARK: NOT_EXPORTED}} if hides else {}),
        "events": sorted(row["events"]),
        "active": bool(row["active"]),
        **({"secret": {MARK: NOT_EXPORTED}} if row.get("secret") else {}),
    }


def webhook_body(wanted: ConfigObject, fields: Collection[str]) -> dict[str, Any]:
    """Return what Fivetran is told of these fields; a secret that is still marked stays as it is."""
    values = {name: wanted.values[name] for name in fields if name in wanted.values and name != "url"}
    body = {name: value for name, value in values.items() if not is_mark(value)}
    return {**body, "url": url_of(wanted)} if "url" in fields and isinstance(wanted.values["url"], Secret) else body


def webhook_objections(wanted: ConfigObject, *, known: bool) -> Iterator[str]:
    """Yield why a webhook cannot be as its file says, each with its remedy.

    :param known: whether there is one of that name.
    """
    if not known and " [" in wanted.key.name:  # a new one would have another id, and be made again and again
        yield (
            f"{wanted.key}: there were several of this URL, and none of this id is left. "
            f"Remedy: write one file of name {_plain(wanted.key)}, with the events of all"
        )
    url, events = wanted.values.get("url", _plain(wanted.key)), wanted.values.get("events", [""])
    if isinstance(url, str) and not url.startswith("https://"):
        yield f"{wanted.key}: Fivetran calls https:// only. Remedy: name the file after the URL that is to be called"
    if isinstance(url, str) and _HIDDEN in url:
        yield f"{wanted.key}: its URL holds a secret, and its file has no url. Remedy: {HINT}"
    if not isinstance(wanted.values.get("active", True), bool):
        yield f"{wanted.key}: active is {wanted.values['active']!r}. Remedy: write true or false"
    if not isinstance(events, list) or not events or not all(isinstance(one, str) for one in events):
        yield f"{wanted.key}: events is {events!r}. Remedy: write a list of names, e.g. [sync_end]"
    elif events != sorted(set(events)):
        yield f"{wanted.key}: events are not in order. Remedy: write [{', '.join(sorted(set(events)))}]"


def url_of(wanted: ConfigObject) -> str | Secret:
    """Return the URL of a webhook that is to be made.

    :raises ConfigurationError: where its file does not tell it, or tells another than its name.
    """
    name, url = _plain(wanted.key), wanted.values.get("url", wanted.key.name)
    if is_mark(url) or (not isinstance(url, Secret) and name_of_url(name) != name):
        raise ConfigurationError(f"{wanted.key}: its URL holds a secret, which its file does not tell.", hint=HINT)
    if not isinstance(url, Secret):
        return name
    if name_of_url(url.reveal()) != name:
        raise ConfigurationError(
            f"{wanted.key}: the secret of url is another URL, or none.",
            hint="let it hold the whole URL, and give the file the name that it has without secrets",
        )
    return url


def _plain(key: Key) -> str:
    """Return the URL of a name that was made unique: a URL has no blank."""
    return key.name.partition(" [")[0]
