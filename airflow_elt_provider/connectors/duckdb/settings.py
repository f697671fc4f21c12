"""Where a DuckDB file is and how to work on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.errors import ConfigurationError


@dataclass(frozen=True)
class DuckdbSettings:
    """A DuckDB file and how to open it.

    :param path: the database file; its folder is made when it is first written.
    :param lock_timeout: seconds to wait in line for the file, which has one writer at a time.
    :param memory_limit: DuckDB's own limit, e.g. ``2GB``; "" for DuckDB's default of 80 % of the machine.
    :param threads: DuckDB's worker threads; 0 for one per core.
    :param temp_directory: where DuckDB puts what does not fit into memory; "" for a folder beside the file.
    """

    path: str
    lock_timeout: float = 600.0
    memory_limit: str = ""
    threads: int = 0
    temp_directory: str = ""

    def __post_init__(self) -> None:
        if not self.path or self.path.startswith(":memory:"):
            raise ConfigurationError(
                f"DuckDB database {self.path!r} is no file: checkpoints and rows would go with the process.",
                hint="give the path of a file that all workers share, e.g. /data/warehouse.duckdb",
            )

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> DuckdbSettings:
        """Read a mapping with the names of the parameters; None and "" count as absent.

        :raises ConfigurationError: for another name, or a number that is none.
        """
        given = {name: item for name, item in value.items() if item is not None and item != ""}
        unknown = sorted(set(given) - set(_CONVERTERS))
        if unknown:
            raise ConfigurationError(
                f"The DuckDB connection has an extra {unknown[0]!r}.",
                hint=f"take it out; known are {', '.join(_CONVERTERS)}",
            )
        return cls(**{"path": "", **{name: _converted(name, item) for name, item in given.items()}})


_CONVERTERS: Mapping[str, Callable[[Any], str | float | int]] = {
    "path": str,
    "lock_timeout": float,
    "memory_limit": str,
    "threads": int,
    "temp_directory": str,
}


def _converted(name: str, value: object) -> Any:
    try:
        return _CONVERTERS[name](value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{name}={value!r} of the DuckDB connection is not a number.", hint="give a number"
        ) from None


def of_connection(parts: ConnectionParts) -> DuckdbSettings:
    """Read a connection without Airflow; see :meth:`DuckdbSettings.parse`."""
    # duckdb:///data/lake.duckdb as a URI has the path where others have the schema; as JSON it is the host.
    path = parts.host or (f"/{parts.schema}" if parts.schema else "")
    return DuckdbSettings.parse({"path": path, **parts.extra})
