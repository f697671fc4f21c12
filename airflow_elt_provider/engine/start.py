"""From where a load starts: pure decisions over what the destination remembers."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_elt_provider.core.checkpoint import Checkpoint, Position
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.modes import WriteMode
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.protocols import Destination
from airflow_elt_provider.core.receipt import Receipt


@dataclass(frozen=True)
class StreamState:
    """What the destination remembers of a stream, as far as one run needs it.

    :param receipts: of this DAG run's loads of the stream; of all of its loads for a full refresh of ``append``.
    """

    checkpoint: Checkpoint | None = None
    receipts: tuple[Receipt, ...] = ()

    @classmethod
    def read(cls, destination: Destination, extraction: Extraction, run: RunIdentity) -> StreamState:
        """Ask the destination."""
        stream = extraction.stream
        receipts: tuple[Receipt, ...] = ()
        if extraction.mode is WriteMode.APPEND:
            run_key = None if extraction.full_refresh else run.run_key(stream)
            receipts = tuple(destination.receipts(stream, run_key))
        return cls(destination.checkpoint(stream), receipts)


@dataclass(frozen=True)
class Start:
    """Where to start, and what the load will take the place of.

    :param until: read no further than this: a cleared run that later runs have overtaken repeats its own range.
    :param base_version: see :class:`airflow_elt_provider.core.manifest.Manifest`.
    :param newest: the checkpoint's own position, where a cleared run repeats what it read: state files of its time may
        be gone.
    """

    since: Position | None
    until: Position | None = None
    base_version: int | None = 0
    replaces: tuple[str, ...] = ()
    newest: Position | None = None

    @property
    def remembered(self) -> Position | None:
        """The position whose state file the source is told."""
        return self.newest or self.since


def starting_point(extraction: Extraction, run: RunIdentity, state: StreamState | None) -> Start:
    """Decide from where to read.

    * An interval load leaves the checkpoint alone.
    * A full refresh reads everything; with ``append`` it takes the place of all rows the stream ever appended.
    * A cleared ``append`` run takes the place of the rows it appended before the clear, by reading its range again.
    * Everything else goes on from the checkpoint.

    :param state: None where nobody could ask: the load then leaves the checkpoint alone. Only for what reads all.
    """
    if state is None:
        return Start(None, base_version=None)
    checkpoint = state.checkpoint
    version = checkpoint.version if checkpoint else 0
    if extraction.interval:
        return Start(None, base_version=None)
    if extraction.full_refresh:
        return Start(None, base_version=version, replaces=tuple(receipt.load_id for receipt in state.receipts))
    if extraction.mode is WriteMode.APPEND:
        earlier = set(run.earlier_load_ids(extraction.stream))
        mine = [receipt for receipt in state.receipts if receipt.load_id in earlier]
        if mine:
            return _again(mine, checkpoint, version)
    return Start(checkpoint.position if checkpoint else None, base_version=version)


def _again(mine: list[Receipt], checkpoint: Checkpoint | None, version: int) -> Start:
    last, replaces = mine[-1], tuple(receipt.load_id for receipt in mine)
    if checkpoint and checkpoint.load_id == last.load_id:
        return Start(last.base_position, base_version=version, replaces=replaces, newest=checkpoint.position)
    newest = checkpoint.position if checkpoint else None
    return Start(last.base_position, until=last.position, base_version=None, replaces=replaces, newest=newest)
