"""The drift gate as an option of sync operators: before a sync starts, its source is held against the schema's lock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import Context
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators import _schema_assets
from airflow_elt_provider.operators._remote_task import RemoteSyncOperator
from airflow_elt_provider.operators._remote_values import rendered

if TYPE_CHECKING:
    from airflow_elt_provider.operators._remote_talk import Talk
    from airflow_elt_provider.remotes.config_as_code.gate import Checked, Gate
    from airflow_elt_provider.remotes.flow import Flow
    from airflow_elt_provider.remotes.model import Intents, Order, Sighting, Watch

KEY: Final = "schema_drift"
"""XCom of a sync: the differences."""
_MEMORY: Final = "elt_schema_drift"
ON_DRIFT: Final = ("report", "propose")
_RUNS: Final = frozenset({"running", "pending", "incomplete", "syncing", "rescheduled"})


class GatedSyncOperator(RemoteSyncOperator):
    """Runs a sync of a connection, once its source was held against the lock of its schema.

    :param connection_id: the remote's id of the connection. (templated)
    :param schema_lock: folder of the exported configuration, or one lock file in it, as a URI. Before the first start
        of a run the remote looks at the source anew, and what it finds is held against the lock. None: no gate.
        (templated)
    :param schema_lock_conn_id: connection with which that is reached.
    :param on_schema_drift: ``ignore``, ``warn``, ``fail`` or ``apply`` for all classes of changes, or a mapping from
        ``field_added``, ``field_removed``, ``type_changed``, ``key_changed``, ``stream_added`` and ``stream_removed``;
        default: what is new is a warning, all else fails. ``apply`` lets the connection follow, and the lock too.
        Where anything fails, nothing is applied.
    :param on_drift: ``propose`` writes the schema that was found beside the lock, as ``....proposed.yaml``; ``report``
        does not.

    What differs is a table in the log, the XCom ``schema_drift``, and, where the task succeeds, an event of the asset
    ``elt://<conn_id>/schema/<connection_id>``.
    """

    template_fields: Sequence[str] = ("connection_id", "schema_lock")
    _gate: Gate | None = None
    _checked: Checked | None = None
    _memory: Any = None  # Airflow's task state store, from 3.3 on: it outlives a try

    def __init__(
        self,
        *,
        connection_id: str,
        schema_lock: str | None = None,
        schema_lock_conn_id: str | None = None,
        on_schema_drift: str | Mapping[str, str] | None = None,
        on_drift: str = "report",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connection_id = connection_id
        self.schema_lock = schema_lock
        self.schema_lock_conn_id = schema_lock_conn_id
        self.on_schema_drift = on_schema_drift
        self.on_drift = on_drift
        self._is_gated = schema_lock is not None
        if self._is_gated:
            if not self._is_being_mapped():
                refuse_unknown(on_schema_drift, on_drift)
            _schema_assets.declare(self, self.conn_id)

    def run_step(self, context: Context) -> Any:
        """Look at the schema, start or find the run, and wait for it."""
        if self._is_gated:
            self._gate = gate_of(self.schema_lock, self.schema_lock_conn_id, self.on_schema_drift, self.on_drift)
            self._memory = context.get("task_state_store")
        try:
            return super().run_step(context)
        finally:
            self._push(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on where the trigger fired.

        :raises AirflowFailException: where a retry cannot help.
        """
        from airflow_elt_provider.remotes.config_as_code.gate import Checked

        if found := event["told"].get(KEY):
            self._checked = Checked.from_json(found)
            self._push(context)  # Airflow 2 deletes what was there before the deferral
        return super().execute_complete(context, event)

    def before(self, remote: Any, order: Order, intents: Intents) -> Flow[None]:
        """Check the schema, unless an earlier try of this run has started a sync.

        :raises SchemaDriftError: where something differs that is to fail.
        """
        from airflow_elt_provider.remotes.config_as_code.opening import config_server

        yield from super().before(remote, order, intents)
        if self._gate is None:
            return
        self._checked = self._checked or self._remembered(order)
        if not (yield from _has_begun(remote, order, intents)):
            checked = yield from self._gate.check(config_server(remote), order.remote_id)
            self._checked = checked.after(self._checked, self._gate.policy)
            self._checked.refuse()
            self._remember(order, self._checked)
        self._kept = {KEY: self._checked.to_json()} if self._checked else {}

    def _remembered(self, order: Order) -> Checked | None:
        """Return what an earlier try found; what it let the connection follow is seen by no later look."""
        from airflow_elt_provider.remotes.config_as_code.gate import Checked

        value = json.loads((self._memory.get(_MEMORY) if self._memory is not None else None) or "{}")
        return Checked.from_json(value) if value.get("key") == order.key else None

    def _remember(self, order: Order, checked: Checked) -> None:
        if self._memory is not None and checked.drifts:
            self._memory.set(_MEMORY, json.dumps({"key": order.key, **checked.to_json()}))

    def _ended(self, context: Context, talk: Talk, watch: Watch, seen: Sighting) -> dict[str, Any]:
        result = super()._ended(context, talk, watch, seen)
        if self._checked:
            _schema_assets.announce(context, self, self.conn_id, watch.remote_id, self._checked)
        return result

    def _push(self, context: Context) -> None:
        if self._checked:
            context["ti"].xcom_push(key=KEY, value=self._checked.listed())


def refuse_unknown(on_schema_drift: str | Mapping[str, str] | None, on_drift: str) -> None:
    """Refuse words that there are not.

    :raises ConfigurationError: lists those that there are.
    """
    from airflow_elt_provider.remotes.config_as_code.schema_lock import DriftPolicy

    DriftPolicy.parse(on_schema_drift)
    if on_drift not in ON_DRIFT:
        raise ConfigurationError(f"on_drift={on_drift!r} is unknown.", hint=f"one of {', '.join(ON_DRIFT)}")


def gate_of(
    schema_lock: str | None, conn_id: str | None, on_schema_drift: str | Mapping[str, str] | None, on_drift: str
) -> Gate:
    """Return the gate that these parameters mean; its folder is asked when it is used.

    :raises ConfigurationError: for a parameter that cannot be meant.
    """
    from airflow_elt_provider.hooks.systems import get_folder
    from airflow_elt_provider.remotes.config_as_code.gate import Gate, place_of_lock
    from airflow_elt_provider.remotes.config_as_code.schema_lock import DriftPolicy

    refuse_unknown(on_schema_drift, on_drift)
    text = rendered("schema_lock", schema_lock, "'gs://config/airbyte', the folder of an export")
    place, path = place_of_lock(text)
    return Gate(get_folder(place, conn_id), path, DriftPolicy.parse(on_schema_drift), on_drift == "propose")


def _has_begun(remote: Any, order: Order, intents: Intents) -> Flow[bool]:
    """Whether an earlier try of this run has started a sync: then the start will find it.

    Before Airflow 3.3 a try leaves no word of it: what runs since the run began, or succeeded, counts as its own.
    """
    from airflow_elt_provider.remotes.model import Phase, Watch

    if intents.read() or order.since is None:
        return bool(intents.read())
    watch = Watch(order.remote_id, after=order.since.isoformat())
    seen = (yield from remote.look([watch])).get(watch)
    if seen and seen.job_id and seen.phase is not Phase.SUCCEEDED:
        last = Watch(order.remote_id, job_id=seen.job_id)
        seen = (yield from remote.look([last])).get(last)
    return bool(seen and (seen.phase is Phase.SUCCEEDED or seen.word in _RUNS))
