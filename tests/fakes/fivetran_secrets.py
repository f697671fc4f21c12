"""Secrets of a connection's configuration: kept, never shown. An answer has a mask in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "******"
_NAMES = re.compile(
    r"(^|_)(password|passphrase|pass_phrase|secret|secrets|token|api_key|secret_key|private_key|access_key"
    r"|client_secret|connection_string|certificate|secret_value|account_key|secret_access_key)$"
)


def masked(value: Any, name: str = "") -> Any:
    """Return a configuration as it is answered."""
    if isinstance(value, Mapping):
        return {key: masked(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [masked(one, name) for one in value]
    return MASK if value and isinstance(value, str) and _NAMES.search(name) else value


def kept(sent: Any, present: Any) -> Any:
    """Return what is sent with the secrets that are there in the place of masks that were sent back."""
    if sent == MASK:
        return present if isinstance(present, str) else sent
    if isinstance(sent, Mapping):
        has = present if isinstance(present, Mapping) else {}
        return {key: kept(one, has.get(key)) for key, one in sent.items()}
    if isinstance(sent, list):
        others = present if isinstance(present, list) and len(present) == len(sent) else [None] * len(sent)
        return [kept(one, other) for one, other in zip(sent, others, strict=True)]
    return sent
