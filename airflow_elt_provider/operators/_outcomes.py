"""What Airflow does with our errors. The only place that knows both."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_elt_provider._compat import AirflowFailException
from airflow_elt_provider.errors import ConfigurationError, DataError

log = logging.getLogger(__name__)


@contextmanager
def airflow_outcomes() -> Iterator[None]:
    """Fail the task at once where a retry cannot help; let everything else through, so that Airflow retries.

    :raises AirflowFailException: for what somebody has to change first, with the same message.
    """
    try:
        yield
    except (ConfigurationError, DataError) as error:
        log.debug("The error in full:", exc_info=error)
        # From None: the message says value, place and remedy; a wall of frames around it would only hide it.
        raise AirflowFailException(str(error)) from None
