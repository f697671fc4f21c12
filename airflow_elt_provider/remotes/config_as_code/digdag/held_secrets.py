"""Which files of a project look as if they held a secret: they are not exported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from airflow_elt_provider.remotes.config_as_code.secret_values import is_mark, looks_secret, marked

_SETTINGS: Final = (
    ".dig", ".yml", ".yaml", ".yml.liquid", ".yaml.liquid", ".json", ".toml", ".ini", ".cfg", ".conf", ".properties",
    ".env",
)  # fmt: skip
_KEY_STORES: Final = (".p12", ".pfx", ".jks", ".keystore", ".kdbx")
_PLACEHOLDER: Final = re.compile(r"\$\{[^}]{0,500}\}|\{\{[^}]{0,500}\}\}")
"""What Digdag (``${secret:...}``) and Embulk's Liquid (``{{ env.X }}``) fill in when they run."""
_FILLED_IN: Final = "\0"
_PAIR: Final = re.compile(
    r"""(?<![\w.\-])(?P<quote>["']?)(?P<name>[\w.\-]+)(?P=quote)\s*[:=]\s*"""
    r"""(?=(?P<value>"(?:[^"\\]|\\.){0,200}"|'[^']{0,200}'|[^\s,}\]#][^,}\]#]{0,200}))"""
)
"""The beginning of a value is enough: a longer one would be looked at again and again."""
_VARIABLE: Final = re.compile(r"\$[A-Za-z_]\w*(\s|$)")
_NOT_SAID: Final = {"", "true", "false", "yes", "no", "on", "off", "null", "none", "~"}


def held_secret(path: str, content: bytes) -> str:
    """Return why a file is not to be exported; "" for one that may be.

    Of settings (YAML, ``.dig``, JSON, properties and the like) each line is looked at: one whose key names a password,
    with a value that is written there and not filled in later. Of all files: private keys, tokens, URLs with a
    password.
    """
    lower = path.lower()
    if lower.endswith(_KEY_STORES):
        return "a key store"
    text = _PLACEHOLDER.sub(_FILLED_IN, _text(content))
    if looks_secret(text.replace(_FILLED_IN, "")):
        return "it holds a private key, a token, or a URL with a password"
    if lower.endswith(_SETTINGS):
        for number, name in _literals(text):
            return f"line {number} sets {name!r} to what looks like a secret"
    return ""


def _literals(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        for pair in _PAIR.finditer(line):
            if _names_secret(pair["name"]) and _is_literal(pair["value"]):
                yield number, pair["name"]


@lru_cache(maxsize=10_000)
def _names_secret(name: str) -> bool:
    return is_mark(marked("x", name))


def _is_literal(value: str) -> bool:
    text = value.strip().strip("\"'").strip()
    if _FILLED_IN in text or _VARIABLE.match(text) or text.lower() in _NOT_SAID:
        return False
    return value[0] not in "{[*&!"  # nested, or elsewhere


def _text(content: bytes) -> str:
    wide = content[:2] in {b"\xff\xfe", b"\xfe\xff"}
    return content.decode("utf-16" if wide else "utf-8", errors="replace")
