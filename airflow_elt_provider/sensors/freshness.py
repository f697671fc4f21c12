"""Waits until a target was merged recently enough."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import (
    AirflowFailException,
    AirflowSkipException,
    Asset,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
)
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.operators._assets import asset_uri
from airflow_elt_provider.operators._outcomes import airflow_outcomes
from airflow_elt_provider.operators._reads import stream_name
from airflow_elt_provider.operators._remote_values import seconds_of
from airflow_elt_provider.operators._rendered import is_template, table

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Destination

log = logging.getLogger(__name__)

_PROOFS: Final = ("merge", "run")
_STALE: Final = ("wait", "fail", "skip")


@dataclass(frozen=True)
class Freshness:
    """The newest proof that a target is fresh.

    :param as_of: when the extract began, ISO 8601: what the source committed before is in the target.
    :param proof: ``merge``: a receipt in the destination; ``run``: a sync of this Airflow that succeeded.
    """

    stream: str
    as_of: str
    age_seconds: float
    proof: str
    load_id: str = ""


class FreshnessSensor(BaseSensorOperator):
    """Waits until a target holds what its source held at most ``max_age`` ago.

    It asks the destination for the receipt of the stream's last merge. A sync that finds nothing new merges nothing and
    leaves no receipt: a source where nothing happens looks stale. ``proof="run"`` also takes a run of this Airflow that
    succeeded, found something or not, by the asset event that it sent. Loads of an interval (backfills) do not count.

    The result (XCom) is ``{"stream", "as_of", "age_seconds", "proof", "load_id"}``. Give ``mode="reschedule"`` to a
    sensor that waits long: between two looks it then holds no worker.

    :param destination_conn_id: where the target is.
    :param max_age: how old the target's rows may be: a timedelta, or seconds.
    :param stream: the stream's name; or else, for the default name, the next three. (templated)
    :param source_conn_id: as in the sync.
    :param source_table: as in the sync. (templated)
    :param target_table: as in the sync; with ``proof="run"`` it is needed. (templated)
    :param proof: ``merge`` or ``run``.
    :param on_stale: ``wait`` until the sensor's ``timeout`` (it then fails, or with ``soft_fail`` is skipped), or
        ``fail`` or ``skip`` at once.
    """

    template_fields: Sequence[str] = ("stream", "source_table", "target_table")
    ui_color = "#e4f7e8"

    def __init__(
        self,
        *,
        destination_conn_id: str,
        max_age: timedelta | float,
        stream: str | None = None,
        source_conn_id: str | None = None,
        source_table: str | TableRef | None = None,
        target_table: str | TableRef | None = None,
        proof: str = "merge",
        on_stale: str = "wait",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination_conn_id = destination_conn_id
        self.max_age = max_age
        self.stream = stream
        self.source_conn_id = source_conn_id
        self.source_table = str(source_table) if isinstance(source_table, TableRef) else source_table
        self.target_table = str(target_table) if isinstance(target_table, TableRef) else target_table
        self.proof = proof
        self.on_stale = on_stale
        seconds_of("max_age", max_age)
        for name, value, known in (("proof", proof, _PROOFS), ("on_stale", on_stale, _STALE)):
            if value not in known:
                raise ConfigurationError(f"{name}={value!r} is unknown.", hint=f"one of {', '.join(known)}")
        if proof == "run":
            self._look_at_events()

    def _look_at_events(self) -> None:
        """Declare the target as an inlet: Airflow then lets the task read its events."""
        if self.target_table is None or is_template(self.target_table):
            raise ConfigurationError(
                f"proof='run' needs the target's name, and target_table is {self.target_table!r}.",
                hint="write target_table without a template, as in the sync",
            )
        self.inlets.append(Asset(asset_uri(self.destination_conn_id, TableRef.parse(self.target_table))))

    def execute(self, context: Context) -> Any:
        """Wait.

        :raises AirflowFailException: where a retry cannot help.
        """
        with airflow_outcomes():
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Look once."""
        found = self._newest(context)
        allowed = seconds_of("max_age", self.max_age)
        if found:
            told = f"merged by load {found.load_id}" if found.proof == "merge" else "a run that succeeded"
            log.info("%s: as of %s, %s ago (%s); allowed are %s.",
                     found.stream, found.as_of, _spoken(found.age_seconds),
                     told, _spoken(allowed))  # fmt: skip
            if found.age_seconds <= allowed:
                return PokeReturnValue(is_done=True, xcom_value=asdict(found))
        self._refuse(found, allowed)
        return False

    def _refuse(self, found: Freshness | None, allowed: float) -> None:
        """End the task where it is not to wait."""
        state = f"{_spoken(found.age_seconds)} old" if found else "not merged by any load so far"
        message = f"{self.target_table or self.stream} is {state}; allowed are {_spoken(allowed)}."
        if self.on_stale == "skip":
            raise AirflowSkipException(message)
        if self.on_stale == "fail":
            raise AirflowFailException(f"{message} Remedy: see why its sync does not run, or raise max_age")
        log.info("%s Waiting.", message)

    def _newest(self, context: Context) -> Freshness | None:
        now = datetime.now(UTC)
        found = [self._ran(context, now)] if self.proof == "run" else []
        if self.proof == "merge" or self.stream or self.source_conn_id:
            found.append(self._merged(now))
        return min((one for one in found if one), key=lambda one: one.age_seconds, default=None)

    def _merged(self, now: datetime) -> Freshness | None:
        """Ask the destination: for the receipt of the load that the checkpoint names."""
        from airflow_elt_provider.hooks.systems import destination_hook

        stream = stream_name(self.stream, self.source_conn_id, self.source_table, self.target_table, self.task_id)
        try:
            return _receipted(destination_hook(self.destination_conn_id).get_destination(), stream, now)
        except TransientError as error:
            log.warning("%s Looking again later.", error)
            return None

    def _ran(self, context: Context, now: datetime) -> Freshness | None:
        """Ask Airflow: for the newest event of the target."""
        target = table(self.target_table, "target_table")
        events: Any = context["inlet_events"][Asset(asset_uri(self.destination_conn_id, target))]  # type: ignore[arg-type]
        newest = max(events, key=lambda event: event.timestamp, default=None)
        if newest is None:
            return None
        moment = newest.timestamp if newest.timestamp.tzinfo else newest.timestamp.replace(tzinfo=UTC)
        load_id = str((newest.extra or {}).get("load_id", ""))
        return Freshness(str(target), moment.isoformat(), _age(moment, now), "run", load_id)


def _receipted(destination: Destination, stream: str, now: datetime) -> Freshness | None:
    checkpoint = destination.checkpoint(stream)
    receipt = destination.receipt(checkpoint.load_id) if checkpoint and checkpoint.load_id else None
    if receipt is None or not receipt.started_at:
        return None
    moment = datetime.fromisoformat(receipt.started_at)
    return Freshness(stream, receipt.started_at, _age(moment, now), "merge", receipt.load_id)


def _age(then: datetime, now: datetime) -> float:
    return round(max(0.0, (now - then).total_seconds()), 3)


def _spoken(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
