"""Which BigQuery to work on, and how."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.errors import ConfigurationError

EMULATOR: Final = "BIGQUERY_EMULATOR_HOST"
"""Variable that sends Google's client to another server, which asks for no credentials."""
JSON_TYPES: Final = ("json", "string")


@dataclass(frozen=True)
class BigQuerySettings:
    """A project and how to work in it.

    :param project: runs the jobs and pays for them; also where targets are whose name gives no project.
    :param dataset: of targets whose name gives no dataset.
    :param state_dataset: our own tables, in the project that runs the jobs and in the location of the targets.
    :param location: where datasets that are missing are made; "" for that of the datasets that are there.
    :param json: type of a JSON column that is created: ``json``, or ``string`` for the exact text.
    :param maximum_bytes_billed: a query that would read more fails before it reads anything; 0 for no limit.
    :param max_uris: files of one load job; more files are several jobs. BigQuery takes 10,000.
    :param job_timeout: seconds after which BigQuery ends a job; 0 for its own limits.
    :param labels: put on every job.
    :param credentials: finds those of google-auth when they are first needed; None for Google's default ones, and for
        an emulator.
    """

    project: str
    dataset: str = ""
    state_dataset: str = "_elt"
    location: str = ""
    json: str = "json"
    maximum_bytes_billed: int = 0
    max_uris: int = 10_000
    job_timeout: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    credentials: Callable[[], Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.project:
            raise ConfigurationError(
                "The BigQuery connection names no project.", hint="set 'project' in the connection's extra"
            )
        if self.json not in JSON_TYPES:
            raise ConfigurationError(
                f"elt_json={self.json!r} of the BigQuery connection.", hint=f"use one of {', '.join(JSON_TYPES)}"
            )
        if self.max_uris < 1:
            raise ConfigurationError(
                f"elt_max_uris={self.max_uris!r} of the BigQuery connection.", hint="give 1 or more, at most 10000"
            )

    def __str__(self) -> str:
        return f"BigQuery project {self.project!r}"

    @classmethod
    def parse(cls, extra: Mapping[str, Any], **found: Any) -> BigQuerySettings:
        """Read the extras that are ours, which begin with ``elt_``; None and "" count as absent.

        :param found: what is known without them; ``project`` and ``location`` give way to ``elt_project`` and
            ``elt_location``.
        :raises ConfigurationError: for an extra that is unknown, or a number that is none.
        """
        ours = {
            name.removeprefix(_PREFIX): value
            for name, value in extra.items()
            if name.startswith(_PREFIX) and value is not None and value != ""
        }
        unknown = sorted(set(ours) - _OURS)
        if unknown:
            raise ConfigurationError(
                f"The BigQuery connection has an extra {_PREFIX + unknown[0]!r}.",
                hint=f"take it out; ours are {', '.join(_PREFIX + name for name in sorted(_OURS))}",
            )
        given = {**found, **{name: _converted(name, value) for name, value in ours.items()}}
        return cls(**{"project": "", **given})


def of_connection(parts: ConnectionParts) -> BigQuerySettings:
    """Read a connection without Airflow; see :meth:`BigQuerySettings.parse`."""
    extra = dict(parts.extra)
    project = extra.get("elt_project") or extra.get("project")
    if os.environ.get(EMULATOR):
        return BigQuerySettings.parse(extra, project=project or "")
    from airflow_elt_provider.connectors.bigquery.login import credentials_of

    credentials, own = credentials_of(extra)
    location = str(extra.get("location") or "")
    return BigQuerySettings.parse(extra, project=project or own, location=location, credentials=lambda: credentials)


_PREFIX: Final = "elt_"
_NUMBERS: Final = frozenset({"maximum_bytes_billed", "max_uris", "job_timeout"})
_OURS: Final = _NUMBERS | {"project", "dataset", "state_dataset", "location", "json"}


def _converted(name: str, value: Any) -> Any:
    try:
        return int(value) if name in _NUMBERS else str(value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{_PREFIX}{name}={value!r} of the BigQuery connection is not a number.", hint="give a whole number"
        ) from None
