"""What a person watching the task log hears of a run."""

from __future__ import annotations

import logging
import time
from typing import Final

from airflow_elt_provider.remotes.model import Sighting

log = logging.getLogger(__name__)

_SAY_SECONDS: Final = 300.0
"""Between two lines of a run whose counts move."""


class Progress:
    """Says what is new of a run: at once what it does, now and then how far it is.

    :param what: begins each line.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._word = ""
        self._said = 0.0

    def __call__(self, sighting: Sighting) -> None:
        """Hear of a sighting."""
        news = f"{sighting.word} {sighting.attempts} {sighting.note}"
        now = time.monotonic()
        if news == self._word and not sighting.ended and now - self._said < _SAY_SECONDS:
            return
        self._word, self._said = news, now
        if sighting.known:
            log.info("%s: %s", self._what, sighting)
        else:
            log.warning("%s: %s. That status is not known; it counts as still running.", self._what, sighting)
