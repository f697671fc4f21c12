"""The credentials of a hybrid deployment agent: Fivetran tells them once, and they stay where they are asked for."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.file_paths import slug
from airflow_elt_provider.remotes.config_as_code.model import Key

_FILES: Final[Mapping[str, str]] = {
    "config_json": "config.json", "auth_json": "auth.json", "docker_compose_yaml": "docker-compose.yaml",
}  # fmt: skip
_HINT: Final = "name a folder that can be written to, outside the repository"


def credentials_of(answer: Mapping[str, Any]) -> dict[str, Secret]:
    """Return the files that an agent needs, by name, of the answer that made it or authorised it anew."""
    told = {name: (answer.get("files") or {}).get(key) for key, name in _FILES.items()}
    return {name: Secret(_text(value)) for name, value in {"token": answer.get("token"), **told}.items() if value}


def _text(value: Any) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return str(value)


@dataclass(frozen=True)
class CredentialsFolder:
    """A folder of credentials that only its owner reads: ``<group>/<agent>/token`` and the other files.

    :param path: need not be there yet.
    """

    path: Path

    def prepare(self, key: Key) -> None:
        """Make sure that the credentials of an agent can be kept, before there are any.

        :raises ConfigurationError: where they cannot, and where there are others of that name.
        """
        place, there = self.place(key), self.occupied(key)
        if there:
            raise ConfigurationError(
                f"{there} holds credentials already.", hint="move them away, or name another folder"
            )
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{place} cannot be made: {error.strerror or error}.", hint=_HINT) from None
        if not os.access(place, os.W_OK | os.X_OK):
            raise ConfigurationError(f"{place} cannot be written to.", hint=_HINT)

    def keep(self, key: Key, files: Mapping[str, Secret]) -> Path:
        """Write the credentials of an agent, and return where they are.

        :raises ConfigurationError: where that fails; it is said how to get others.
        """
        place = self.place(key)
        try:
            for name, content in files.items():
                handle = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(content.reveal())
        except OSError as error:
            raise ConfigurationError(
                f"{key} is made, and its credentials could not be written to {place}: {error.strerror or error}.",
                hint="authorise it anew (PATCH /v1/hybrid-deployment-agents/{id}/re-auth), which tells new ones",
            ) from None
        return place

    def occupied(self, key: Key) -> Path | None:
        """Return the folder of an agent where it holds something already."""
        place = self.place(key)
        try:
            return place if any(place.iterdir()) else None
        except FileNotFoundError:
            return None
        except OSError:
            return place

    def lost(self, key: Key) -> Path | None:
        """Return the folder that was made for an agent's credentials and holds none: a try broke off in between."""
        place = self.place(key)
        return place if place.is_dir() and not self.occupied(key) else None

    def place(self, key: Key) -> Path:
        """Return the folder of one agent."""
        return self.path / slug(key.workspace) / slug(key.name)
