"""What to do when the connection broke off after COMMIT was sent: ask for the receipt, never guess."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from airflow_elt_provider.core.load import Load
from airflow_elt_provider.core.receipt import Receipt
from airflow_elt_provider.errors import EltError, TransientError, UncertainCommitError

log = logging.getLogger(__name__)

_PAUSES: Final = (0.5, 2.0, 5.0)
"""Seconds to wait before each attempt to learn what became of a COMMIT."""


def ask_again(load: Load, lost: TransientError, receipt: Callable[[str], Receipt | None]) -> Receipt:
    """Return the load's receipt.

    :param lost: how the connection ended; raised again where there is no receipt. A COMMIT that is still under way
        holds the stream's lock, so the retry waits for it and is told.
    :param receipt: asks for the receipt of a load id.
    :raises UncertainCommitError: when the destination cannot be asked.
    """
    log.warning("%s: the answer to COMMIT was lost; asking for the receipt", load.manifest.stream)
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            known = receipt(load.load_id)
        except EltError as silent:
            log.info("%s: %s", load.manifest.stream, silent.message)
            continue
        if known:
            return known
        raise lost
    raise UncertainCommitError(load.load_id) from lost
