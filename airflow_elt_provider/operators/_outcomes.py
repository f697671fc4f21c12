"""What Airflow does with our errors. The only place that knows both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_elt_provider._compat import AirflowFailException
from airflow_elt_provider.errors import ConfigurationError, DataError


@contextmanager
def airflow_outcomes() -> Iterator[None]:
    """Fail the task at once where a retry cannot help; let everything else through, so that Airflow retries.

    :raises AirflowFailException: for what somebody has to change first, with the same message.
    """
    try:
        yield
    except (ConfigurationError, DataError) as error:
        raise AirflowFailException(str(error)) from error
