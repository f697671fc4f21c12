"""Fivetran asked for much: a few calls at once, each within every quota."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from airflow_elt_provider.errors import TransientError
from airflow_elt_provider.remotes.config_as_code.fivetran.api import FivetranApi, refused
from airflow_elt_provider.remotes.config_as_code.model import Tell
from airflow_elt_provider.remotes.flow import Flow, JsonObject, Pause, Request, Together, segment
from airflow_elt_provider.remotes.patience import patiently
from airflow_elt_provider.remotes.session import Budget, Session

WIDTH: Final = 8
"""Calls that are under way at once."""
SLOW: Final = 600.0
"""Seconds that a call may take in which Fivetran asks a source."""
_OF_SOURCE: Final = "run its setup tests in the dashboard, and mend what they name"
_TOLERANCE: Final = 300.0
_OK, _CONFLICT = 200, 409
_T = TypeVar("_T")
_U = TypeVar("_U")


def in_batches(items: Sequence[_T], work: Callable[[_T], Flow[_U]], tell: Tell, what: str) -> Flow[list[_U]]:
    """Return what a flow finds for each item, a few at once.

    :param what: the items, as ``tell`` is told.
    """
    found: list[_U] = []
    for start in range(0, len(items), WIDTH):
        found += yield Together([work(one) for one in items[start : start + WIDTH]])
        tell(what, len(found), len(items))
    return found


class ConnectionCalls:
    """What is asked of connections, by their ids.

    Each reading goes on by itself after a 429 or an outage, so that one of a thousand calls does not begin anew.
    Writing does not: who writes looks first what became of it.

    :param session: within the account's budget of calls.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._api = FivetranApi(session)
        # Half of what may be asked of sources: 500 calls a minute, 5,000 an hour, for everybody together.
        self._of_sources = (Budget(250, 60.0, burst=250), Budget(2_500, 3600.0, burst=1_000))

    # --- read ---

    def rows(self, group_id: str = "", schema: str = "") -> Flow[list[JsonObject]]:
        """Return the connections of the account, of a group, or of one name there."""
        query = [(name, value) for name, value in (("group_id", group_id), ("schema", schema)) if value]
        return (yield from _calmly(lambda: self._api.listed("/v1/connections", query)))

    def groups(self) -> Flow[list[JsonObject]]:
        """Return the groups of the account."""
        return (yield from _calmly(lambda: self._api.listed("/v1/groups")))

    def detail(self, id_: str) -> Flow[JsonObject | None]:
        """Return a connection; None: there is none."""
        return (yield from _calmly(lambda: self._api.get(_path(id_))))

    def schemas(self, id_: str) -> Flow[JsonObject | None]:
        """Return the settings of its schemas; None: Fivetran does not know any yet."""
        return (yield from _calmly(lambda: self._api.get(f"{_path(id_)}/schemas")))

    def columns(self, id_: str, schema: str, table: str) -> Flow[JsonObject]:
        """Return the columns that a table has in the source now; {}: there is no such table.

        :raises ConfigurationError: where the connection is not connected.
        """
        path = f"{_path(id_)}/schemas/{segment(schema)}/tables/{segment(table)}/columns"

        def asked() -> Flow[JsonObject | None]:
            yield from self._wait_for_sources()
            return (yield from self._api.get(path, timeout=SLOW))

        found = yield from _calmly(asked)
        columns: JsonObject = (found or {}).get("columns") or {}
        return columns

    # --- write ---

    def create_group(self, name: str) -> Flow[str]:
        """Make a group and return its id."""
        made = yield from self._api.post("/v1/groups", {"name": name}, what=f"group {name!r}")
        return str(made["id"])

    def create(self, body: Mapping[str, Any], place: str) -> Flow[JsonObject]:
        """Make a connection."""
        return (yield from self._api.post("/v1/connections", body, what=place))

    def change(self, id_: str, body: Mapping[str, Any], place: str) -> Flow[JsonObject]:
        """Change a connection. Its setup tests are not run along: they have a quota, and take minutes."""
        return (yield from self._api.patch(_path(id_), {**body, "run_setup_tests": False}, what=place))

    def test(self, id_: str, place: str) -> Flow[JsonObject]:
        """Run the setup tests; return the connection as it is afterwards."""
        return (yield from self._api.post(f"{_path(id_)}/test", {}, what=f"{place}, setup tests", timeout=SLOW))

    def reload(self, id_: str, place: str) -> Flow[JsonObject]:
        """Let Fivetran look at the source, and keep what is selected; return the settings of the schemas."""
        yield from self._wait_for_sources()
        path, body = f"{_path(id_)}/schemas/reload", {"exclude_mode": "PRESERVE"}
        return (yield from self._api.post(path, body, what=f"{place}, schemas", timeout=SLOW, hint=_OF_SOURCE))

    def change_schemas(self, id_: str, body: Mapping[str, Any], place: str) -> Flow[JsonObject]:
        """Change the settings of the schemas."""
        return (yield from self._api.patch(f"{_path(id_)}/schemas", body, what=f"{place}, schemas", timeout=SLOW))

    def delete(self, id_: str, place: str) -> Flow[None]:
        """Delete a connection; its tables in the destination stay."""
        yield from self._api.delete(_path(id_), what=place)

    def resync(self, id_: str, place: str) -> Flow[None]:
        """Read everything anew.

        :raises TransientError: while a sync runs that cannot be completed early.
        """
        request = Request("POST", f"{_path(id_)}/resync", body={}, headers={"Accept": "application/json;version=2"})
        answer = yield from self._session.ask(request)
        if answer.status == _CONFLICT:
            raise TransientError(f"{place} is syncing, and Fivetran cannot begin to read it anew now.")
        if answer.status != _OK:
            raise refused(place, answer)

    def _wait_for_sources(self) -> Flow[None]:
        wait = max(budget.take() for budget in self._of_sources)
        if wait > 0:
            yield Pause(wait)


def _calmly(flow: Callable[[], Flow[_T]]) -> Flow[_T]:
    return patiently(flow, _TOLERANCE, "Fivetran")


def _path(id_: str) -> str:
    return f"/v1/connections/{segment(id_)}"
