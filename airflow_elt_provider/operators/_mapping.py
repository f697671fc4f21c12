"""What Airflow allows of mapped tasks."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

from airflow_elt_provider._compat import max_map_length
from airflow_elt_provider.errors import ConfigurationError


def refuse_too_many(number: int, what: str, remedy: str) -> None:
    """Refuse to map over more than Airflow maps over, which would fail with an error that names no remedy.

    :raises ConfigurationError: names the setting.
    """
    most = max_map_length()
    if number > most:
        raise ConfigurationError(
            f"{number:,} {what} are more than the {most:,} instances that Airflow makes of one mapped task.",
            hint=f"raise AIRFLOW__CORE__MAX_MAP_LENGTH (on the scheduler, the API server and the workers), or {remedy}",
        )


def own_names(operator: type[Any]) -> frozenset[str]:
    """Return the names of the parameters that a class itself declares."""
    kinds = signature(operator.__init__).parameters.values()
    return frozenset(parameter.name for parameter in kinds if parameter.kind is Parameter.KEYWORD_ONLY)
