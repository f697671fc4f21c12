"""The drift gate without a sync: waits, or fails, where the schema of a source is not the one that was accepted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowFailException, BaseSensorOperator, Context, PokeReturnValue
from airflow_elt_provider.errors import ConfigurationError, SchemaDriftError, TransientError
from airflow_elt_provider.operators import _schema_assets
from airflow_elt_provider.operators._outcomes import airflow_outcomes
from airflow_elt_provider.operators._remote_values import rendered
from airflow_elt_provider.operators._schema_gate import gate_of, refuse_unknown

if TYPE_CHECKING:
    from airflow_elt_provider.remotes.config_as_code.gate import Checked

log = logging.getLogger(__name__)

_ON_FAIL: Final = ("fail", "wait")
_RESULT: Final = "return_value"


class SchemaDriftSensor(BaseSensorOperator):
    """Lets the remote look at the source of a connection, and succeeds when nothing that is to fail has drifted.

    Its result (XCom) is the list of differences ``{"change", "stream", "field", "old", "new"}``, also while it waits
    and where it fails. Where it succeeds, and there are any, there is an event of the asset
    ``elt://<conn_id>/schema/<connection_id>``.

    Each look lets the remote read its source: give a sensor that waits a long ``poke_interval``, and
    ``mode="reschedule"``.

    :param conn_id: connection of the remote: Airbyte or Fivetran.
    :param connection_id: the remote's id of the connection. (templated)
    :param schema_lock: folder of the exported configuration, or one lock file in it, as a URI. (templated)
    :param schema_lock_conn_id: connection with which that is reached.
    :param on_schema_drift: as of an ``AirbyteSyncOperator``.
    :param on_drift: as of an ``AirbyteSyncOperator``.
    :param on_fail: what to do about drift that is to fail: ``fail`` at once (with ``soft_fail`` the task is skipped),
        or ``wait`` until somebody accepts it in the lock, or mends the source.
    """

    template_fields: Sequence[str] = ("connection_id", "schema_lock")
    ui_color = "#e4e8f7"

    def __init__(
        self,
        *,
        conn_id: str,
        connection_id: str,
        schema_lock: str,
        schema_lock_conn_id: str | None = None,
        on_schema_drift: str | Mapping[str, str] | None = None,
        on_drift: str = "report",
        on_fail: str = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.connection_id = connection_id
        self.schema_lock = schema_lock
        self.schema_lock_conn_id = schema_lock_conn_id
        self.on_schema_drift = on_schema_drift
        self.on_drift = on_drift
        self.on_fail = on_fail
        if on_fail not in _ON_FAIL:
            raise ConfigurationError(f"on_fail={on_fail!r} is unknown.", hint=f"one of {', '.join(_ON_FAIL)}")
        refuse_unknown(on_schema_drift, on_drift)
        _schema_assets.declare(self, conn_id)

    def execute(self, context: Context) -> Any:
        """Wait.

        :raises AirflowFailException: where a retry cannot help.
        """
        with airflow_outcomes():
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Look once."""
        connection_id = rendered("connection_id", self.connection_id, "'7d9c…'")
        try:
            checked = self._look(connection_id)
            checked.refuse()
        except TransientError as error:
            log.warning("%s Looking again later.", error)
            return False
        except SchemaDriftError as error:
            context["ti"].xcom_push(key=_RESULT, value=checked.listed())
            if self.on_fail == "wait":
                log.warning("%s Waiting.", error)
                return False
            raise AirflowFailException(str(error)) from None  # here, for Airflow then sees to soft_fail
        _schema_assets.announce(context, self, self.conn_id, connection_id, checked)
        return PokeReturnValue(is_done=True, xcom_value=checked.listed())

    def _look(self, connection_id: str) -> Checked:
        from airflow_elt_provider.hooks.remotes import remote_hook
        from airflow_elt_provider.remotes.flow import readable

        hook = remote_hook(self.conn_id)
        gate = gate_of(self.schema_lock, self.schema_lock_conn_id, self.on_schema_drift, self.on_drift)
        server = hook.get_configuration()
        checked: Checked = hook.get_driver()(readable(gate.check(server, connection_id), server.remote))
        return checked
