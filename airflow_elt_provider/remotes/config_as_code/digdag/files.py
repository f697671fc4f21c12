"""From the files of a folder to a Digdag project's archive: with what is withheld, and what nobody manages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.digdag.archive import Archive, is_hidden, refuse_odd_paths
from airflow_elt_provider.remotes.config_as_code.digdag.held_secrets import held_secret
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject
from airflow_elt_provider.remotes.config_as_code.secret_values import HINT, is_mark

_SCRIPT: Final = b"#!"
_SECRET: Final = re.compile(r"[A-Za-z]([\w-]*[A-Za-z0-9])?(\.[A-Za-z]([\w-]*[A-Za-z0-9])?)*", re.ASCII)
"""Names of secrets (Digdag's SecretValidation)."""


def withheld_in(archive: Archive) -> dict[str, str]:
    """Return the paths of the files that are not exported, and why."""
    found = {path: held_secret(path, content) for path, content in archive.files.items() if not is_hidden(path)}
    return {path: reason for path, reason in found.items() if reason}


def objections_to(wanted: ConfigObject) -> Iterator[str]:
    """Yield what is wrong with values by themselves, each with its remedy."""
    values, place = wanted.values, str(wanted.key)
    for name in ("secrets", "withheld"):
        if name in values and not _are_marks(values[name]):
            yield f"{place}: {name} are names, each with a reference. Remedy: {HINT}"
    secrets = values.get("secrets")
    for name in secrets if isinstance(secrets, Mapping) else ():
        if not _SECRET.fullmatch(name):
            yield f"{place}: {name!r} cannot be a secret's name. Remedy: letters, digits, _ and -, with dots between"
    for name, kind, remedy in (("executable", list, "a list of paths"), ("disabled", bool, "true or false")):
        value = values.get(name)
        texts = all(isinstance(one, str) for one in value) if isinstance(value, list) else True
        if name in values and not (isinstance(value, kind) and texts):
            yield f"{place}: {name} is {value!r}. Remedy: write {remedy}"


def secrets_of(wanted: ConfigObject) -> Mapping[str, Any]:
    """Return a project's secrets, those that are to be written and those that stay as they are."""
    secrets: Mapping[str, Any] = wanted.values.get("secrets", {})
    return secrets


def archive_of(wanted: ConfigObject, present: Archive) -> Archive:
    """Return the archive that a project is to have.

    :param wanted: the project; references resolved.
    :param present: what the server has. From it come hidden files, withheld files that no reference gives, and the
        modes of files where the project's file says nothing of them.
    :raises ConfigurationError: for a file that holds a secret in the open, and where ``withheld`` or ``executable``
        name what is not there.
    """
    place = str(wanted.key)
    refuse_odd_paths(wanted.attachments, place)
    for path, content in wanted.attachments.items():
        if reason := held_secret(path, content):
            raise ConfigurationError(
                f"{place}: {path} holds a secret in the open: {reason}.",
                hint="use Digdag's secrets, ${secret:name}; or take it out of the folder, and write its path under "
                "withheld with a reference to its text",
            )
    files = {
        **{path: content for path, content in present.files.items() if is_hidden(path)},
        **wanted.attachments,
        **_withheld(wanted, present, place),
    }
    return Archive(files, _executable(wanted, files, present, place))


def _withheld(wanted: ConfigObject, present: Archive, place: str) -> dict[str, bytes]:
    listed: Mapping[str, Any] | None = wanted.values.get("withheld")
    if listed is None:
        return {path: present.files[path] for path in withheld_in(present)}
    refuse_odd_paths(dict.fromkeys(listed, b""), place)
    found: dict[str, bytes] = {}
    for path, value in listed.items():
        if path in wanted.attachments:
            raise ConfigurationError(f"{place}: {path} is withheld, and in the folder.", hint="remove one of the two")
        if isinstance(value, Secret):
            found[path] = value.reveal().encode()
        elif path in present.files:
            found[path] = present.files[path]
        else:
            raise ConfigurationError(f"{place}: {path} was withheld, and the server does not have it.", hint=HINT)
    return found


def _are_marks(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, Secret) or is_mark(one) for one in value.values())


def _executable(wanted: ConfigObject, files: Mapping[str, bytes], present: Archive, place: str) -> frozenset[str]:
    listed = wanted.values.get("executable")
    if listed is None:
        scripts = {path for path in files.keys() - present.files.keys() if files[path].startswith(_SCRIPT)}
        return frozenset(scripts | (present.executable & files.keys()))
    if strange := [path for path in listed if path not in files]:
        raise ConfigurationError(
            f"{place}: executable names {strange[0]!r}, which is no file of it.", hint="correct the path"
        )
    return frozenset(listed) | {path for path in present.executable if is_hidden(path)}
