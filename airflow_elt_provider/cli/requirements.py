"""Our version ranges against what is installed somewhere: here, or in an environment of which only a list is known."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Final

from airflow_elt_provider.core.doctor import Finding, note, ok, problem
from airflow_elt_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE: Final = "airflow-elt-provider"
_AIRFLOW: Final = "apache-airflow"
_PIN: Final = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^]]*\])?\s*={2,3}\s*([^\s;]+)")
_ROW: Final = re.compile(r"[\s|]*([A-Za-z0-9][\w.-]*)[\s|]+v?(\d[\w.+!-]*)[\s|]*")


def requirements(extras: Iterable[str] = ()) -> list[Requirement]:
    """Return what this package requires with some of its extras, as its metadata declare it.

    :raises ConfigurationError: for an extra that there is not, or where packages cannot be looked at.
    """
    try:
        from packaging.requirements import Requirement  # Airflow brings it
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Versions cannot be compared without 'packaging'.", hint="pip install packaging"
        ) from error
    try:
        about = metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ConfigurationError(f"{PACKAGE} is not installed.", hint=f"pip install {PACKAGE}") from error
    known = set(about.get_all("Provides-Extra") or ())
    wanted = set(extras)
    if wanted - known:
        raise ConfigurationError(
            f"{PACKAGE} has no extra {min(wanted - known)!r}.", hint=f"use {', '.join(sorted(known))}"
        )
    declared = [Requirement(text) for text in about.get_all("Requires-Dist") or ()]
    return _unfolded(declared, wanted)


def _unfolded(declared: list[Requirement], wanted: set[str]) -> list[Requirement]:
    """Choose those of the extras, and follow extras that name others (``all``)."""
    found: dict[str, Requirement] = {}
    open_, seen = ["", *sorted(wanted)], set[str]()
    while open_:
        extra = open_.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for each in declared:
            applies = each.marker is None if not extra else bool(each.marker and each.marker.evaluate({"extra": extra}))
            if not applies:
                continue
            if canonical(each.name) == PACKAGE:
                open_ += sorted(each.extras)
            else:
                found[str(each)] = each
    return list(found.values())


def installed() -> dict[str, str]:
    """Return the packages of this Python: name -> version."""
    return {canonical(each.name): each.version for each in metadata.distributions() if each.name}


def read_list(text: str) -> dict[str, str]:
    """Read the output of ``gcloud composer environments list-packages``, ``pip list`` or ``pip freeze``.

    :raises ConfigurationError: where no package can be found in it.
    """
    found = dict(_of_json(text) if text.lstrip().startswith(("[", "{")) else _of_lines(text))
    if not found:
        raise ConfigurationError(
            "There is no package in the list.",
            hint="give what 'gcloud beta composer environments list-packages' or 'pip freeze' prints",
        )
    return found


def _of_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        found = _PIN.match(line.strip()) or _ROW.fullmatch(line)
        if found:
            yield canonical(found[1]), found[2]


def _of_json(text: str) -> Iterator[tuple[str, str]]:
    try:
        value = json.loads(text)
    except ValueError:
        return
    if isinstance(value, dict):
        value = [{"name": name, "version": version} for name, version in value.items()]
    for row in value:
        fields = {str(key).lower(): item for key, item in row.items()} if isinstance(row, dict) else {}
        name, version = fields.get("name") or fields.get("package"), fields.get("version")
        if isinstance(name, str) and isinstance(version, str):
            yield canonical(name), version.removeprefix("==")


def canonical(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- comparing ---


def compare(packages: Mapping[str, str], extras: Iterable[str] = (), *, here: bool = True) -> Iterator[Finding]:
    """Hold packages against our ranges, one finding each.

    :param packages: canonical name -> version.
    :param here: whether they are those of this Python; else those of an environment into which ours is to be installed,
        where a package that is missing will come with it.
    :raises ConfigurationError: as :func:`requirements` does.
    """
    from packaging.version import InvalidVersion, Version

    if _AIRFLOW not in packages and f"{_AIRFLOW}-core" in packages:
        packages = {**packages, _AIRFLOW: packages[f"{_AIRFLOW}-core"]}
    for each in sorted(requirements(extras), key=lambda requirement: canonical(requirement.name)):
        name, wanted = canonical(each.name), str(each.specifier) or "any version"
        version = packages.get(name)
        if version is None:
            yield _missing(name, str(each).partition(";")[0].strip(), here=here)
            continue
        try:
            fits = each.specifier.contains(Version(version), prereleases=True)
        except InvalidVersion:
            yield note(name, f"version {version!r} cannot be compared with {wanted}", "look at it yourself")
            continue
        if fits:
            yield ok(name, f"{version} fits {wanted}")
        else:
            yield _conflict(name, version, wanted, here=here)


def _missing(name: str, requirement: str, *, here: bool) -> Finding:
    if not here:
        return note(name, f"is not there and comes with {PACKAGE}: {requirement}")
    if name.startswith(_AIRFLOW):
        return note(name, "is not installed: only operators need it, the command line does not")
    return problem(name, "is not installed", f"pip install '{requirement}'")


def _conflict(name: str, version: str, wanted: str, *, here: bool) -> Finding:
    if here:
        return problem(name, f"{version} does not fit {wanted}", f"pip install '{name}{wanted}'")
    return problem(
        name, f"{version} does not fit {wanted}: installing would replace it",
        "take a newer image, or leave out the extra that needs it",
    )  # fmt: skip


def python_fits() -> Finding:
    """Hold this Python against what we declare."""
    from packaging.specifiers import SpecifierSet

    wanted = metadata.metadata(PACKAGE)["Requires-Python"] or ""
    version = ".".join(map(str, sys.version_info[:3]))
    if SpecifierSet(wanted).contains(version):
        return ok("python", f"{version} fits {wanted}")
    return problem("python", f"{version} does not fit {wanted}", "run another Python")
