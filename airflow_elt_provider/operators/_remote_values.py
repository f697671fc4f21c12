"""What parameters of remote operators mean: spans, times, texts that a template made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_elt_provider._compat import Context
from airflow_elt_provider.errors import ConfigurationError


def deadline_of(context: Context, limit: timedelta | None) -> float | None:
    """Return when this try's time is over, in seconds since 1970: Airflow does not count it while a task waits.

    ``airflow tasks test`` of Airflow 2 notes no start, and fails when a task with ``execution_timeout`` defers, for it
    adds the two: so the start is noted here.
    """
    if limit is None:
        return None
    ti: Any = context["ti"]
    if getattr(ti, "start_date", None) is None:
        ti.start_date = datetime.now(UTC)
    return float(ti.start_date.timestamp() + limit.total_seconds())


def seconds_of(name: str, value: timedelta | float) -> float:
    """Return a span as seconds.

    :raises ConfigurationError: when it is none.
    """
    seconds: Any = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0:
        return float(seconds)
    raise ConfigurationError(f"{name}={value!r} is no span of time.", hint="give a timedelta, or seconds")


def positive(name: str, value: Any) -> None:
    """Refuse what is no number above 0.

    :raises ConfigurationError: names parameter and value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError(f"{name}={value!r} is no number of seconds above 0.", hint=f"e.g. {name}=10")


def rendered(name: str, value: Any, example: str) -> str:
    """Return a templated text.

    :raises ConfigurationError: when it is empty, or rendered to nothing.
    """
    text = "" if value is None else str(value).strip()
    if text in {"", "None"}:
        raise ConfigurationError(f"{name} is {value!r}.", hint=f"write {name}={example}")
    return text


def parsed_time(name: str, text: str) -> datetime:
    """Return a time that a template rendered; UTC where it has no offset.

    :raises ConfigurationError: when it is no time.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{name}={text!r} is no time.", hint="ISO 8601, e.g. 2026-01-05T07:00:00Z") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
