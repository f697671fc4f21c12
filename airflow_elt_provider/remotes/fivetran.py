"""Fivetran's REST API (https://fivetran.com/docs/rest-api).

A sync has no id there. What it has are two times of a connection, ``succeeded_at`` and ``failed_at``: noted before
the start, they tell afterwards whether a sync ended since.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.fivetran_status import Connection, Mark
from airflow_elt_provider.remotes.flow import TURN, Answer, Flow, JsonObject, Pause, Request, apart, each, segment
from airflow_elt_provider.remotes.model import (
    Intents,
    Order,
    Phase,
    Report,
    Sighting,
    Started,
    StreamReport,
    Watch,
    already_running,
    iso,
    parse_time,
)
from airflow_elt_provider.remotes.session import Budget, Session

log = logging.getLogger(__name__)

HOST: Final = "https://api.fivetran.com"
PAGE: Final = 1000
"""The longest page that ``GET /v1/connections`` gives."""
_FEW: Final = 3
_ACCEPT: Final = {"Accept": "application/json;version=2"}
_OK, _BAD, _NOT_FOUND = 200, 400, 404
_LOOKS: Final = (0.0, 2.0, 5.0, 10.0)


def account_budget() -> Budget:
    """Return what one process takes of an account's rate: half of 20,000 calls an hour, which is for everything.

    Source: https://fivetran.com/docs/rest-api/getting-started, "Rate limits".
    """
    return Budget(10_000, 3600.0, burst=1000)


class Fivetran:
    """One Fivetran account.

    :param session: asks it.
    """

    name = "fivetran"

    def __init__(self, session: Session) -> None:
        self.session = session
        self._pages = 1
        self._restarted: dict[str, str] = {}

    # --- start ---

    def start(self, order: Order, intents: Intents) -> Flow[Started]:
        now = yield from self.connection(order.remote_id)
        page = self._url(order.remote_id)
        saved = intents.read()
        mark = Mark.parse(saved) if saved else _before(now, order.since)
        # A sync that ended as failed is over: what runs since is somebody else's.
        if mark and (now.succeeded_since(mark) or (now.syncing and not now.moved(mark))):
            return Started(Watch(order.remote_id, mark=str(mark)), "found", page)
        now.refuse_unfit()
        if now.syncing:
            return self._under_way(order, now, intents, page)
        intents.write(str(now.mark))
        yield from self._sync(order.remote_id, now.mark)
        return Started(Watch(order.remote_id, mark=str(now.mark)), "started", page)

    def _under_way(self, order: Order, now: Connection, intents: Intents, page: str) -> Started:
        """A sync of somebody else runs. Fivetran does not say since when, so it may be adopted whenever it began."""
        if order.on_running == "fail":
            raise already_running("Fivetran", order, "a sync without an id")
        watch = Watch(order.remote_id, mark=str(now.mark))
        if order.on_running == "wait":
            return Started(watch, "waiting", page)
        intents.write(str(now.mark))
        return Started(watch, "adopted", page)

    def _sync(self, connection_id: str, mark: Mark) -> Flow[None]:
        request = Request("POST", f"/v1/connections/{segment(connection_id)}/sync", body={"force": False})
        try:
            answer = yield from self._ask(request)
        except AnswerLostError as error:
            log.warning("%s Looking whether the sync has begun.", error)
            yield from self._begun(connection_id, mark, error)
            return
        if answer.status != _OK:
            raise _refused(answer, connection_id, "a sync")

    def _begun(self, connection_id: str, mark: Mark, lost: AnswerLostError) -> Flow[None]:
        for seconds in _LOOKS:
            yield Pause(seconds)
            try:
                now = yield from self.connection(connection_id)
            except TransientError:
                continue
            if now.syncing or now.moved(mark):
                return
        raise TransientError(f"{lost.message} No sync of connection {connection_id!r} has begun.")

    def find(self, order: Order, intents: Intents) -> Flow[Watch | None]:
        """Return nothing: what runs cannot be told from somebody else's, nor cancelled."""
        del order, intents
        yield from ()
        return None

    # --- watch ---

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        ids = {watch.remote_id for watch in watches}
        connections = yield from self._connections(ids)
        found: dict[Watch, Sighting] = {}
        for number, watch in enumerate(watches, 1):
            if number % TURN == 0:
                yield Pause(0)
            now = connections.get(watch.remote_id)
            found[watch] = now.sighting(watch) if now else Sighting.of_lost(watch)
            if now and not watch.after:  # a sensor only looks
                yield from self._start_again(now)
        return found

    def _connections(self, ids: set[str]) -> Flow[dict[str, Connection]]:
        if len(ids) <= max(_FEW, self._pages):
            wanted = sorted(ids)
            answers = yield from apart([self._known(one) for one in wanted], "Fivetran")
            return {one: now for one, now in zip(wanted, answers, strict=True) if isinstance(now, Connection)}
        return (yield from self._listed(ids))

    def _known(self, connection_id: str) -> Flow[Connection | None]:
        try:
            return (yield from self.connection(connection_id))
        except UnknownConnectionError:
            return None

    def refuse_unknown(self, remote_id: str) -> Flow[None]:
        yield from self.connection(remote_id)

    def _listed(self, ids: set[str]) -> Flow[dict[str, Connection]]:
        found: dict[str, Connection] = {}
        cursor, seen = "", set[str]()
        while cursor not in seen:  # a server that repeats itself has no more
            seen.add(cursor)
            query = [("limit", str(PAGE)), *([("cursor", cursor)] if cursor else [])]
            answer = yield from self._ask(Request("GET", "/v1/connections", query))
            if answer.status != _OK:
                raise _refused(answer, "", "its connections")
            data = answer.json()["data"]
            wanted = [item for item in data["items"] if item["id"] in ids]
            found.update({one.id: one for one in each(wanted, Connection.parse, "Fivetran")})
            cursor = str(data.get("next_cursor") or "")
            yield Pause(0)  # a page of a thousand is read in 20 ms: let others have the event loop
            if len(found) == len(ids):
                return found
        self._pages = len(seen)
        return found

    def _start_again(self, now: Connection) -> Flow[None]:
        """Begin what Fivetran put off and leaves to us: a rescheduled sync of a connection without a schedule."""
        due = now.due_again(datetime.now(UTC))
        if not due or self._restarted.get(now.id) == due:
            return
        log.info("Fivetran put the sync of %s off until %s, and leaves it to us: starting it again.", now.id, due)
        answer = yield from self.session.attempt(
            Request("POST", f"/v1/connections/{segment(now.id)}/sync", body={"force": False}, headers=_ACCEPT)
        )
        if isinstance(answer, EltError):  # it is this connection's alone; the next look tries again
            log.warning("Fivetran %s: %s", now.id, answer)
            return
        self._restarted[now.id] = due  # not before the answer: a start that failed is tried again

    # --- cancel, report, check ---

    def cancel(self, watch: Watch) -> Flow[bool]:
        """Fivetran has no call that stops a sync and leaves the connection as it was: nothing is cancelled."""
        yield from ()
        log.warning("Fivetran cannot cancel a sync; that of %s goes on.", watch.remote_id)
        return False

    def report(self, watch: Watch, sighting: Sighting) -> Flow[Report]:
        now = yield from self.connection(watch.remote_id)
        failed = sighting.phase is not Phase.SUCCEEDED
        return Report(
            remote=self.name,
            remote_id=watch.remote_id,
            job_id="",
            status=sighting.word if sighting.phase is Phase.CANCELLED else sighting.phase.value,
            url=self._url(watch.remote_id),
            finished_at=iso(now.failed_at if failed else now.succeeded_at),
            streams=[] if failed else (yield from self._streams(watch.remote_id)),
            reason=(sighting.note or now.reason) if failed else "",
            retryable=not (failed and now.broken),
        )

    def _streams(self, connection_id: str) -> Flow[list[StreamReport]]:
        """Return the enabled tables; Fivetran's API has no row counts, its Platform Connector's log table has."""
        answer = yield from self.session.attempt(
            Request("GET", f"/v1/connections/{segment(connection_id)}/schemas", headers=_ACCEPT)
        )
        if not isinstance(answer, Answer) or answer.status != _OK:
            return []
        schemas: JsonObject = answer.json()["data"].get("schemas") or {}
        return [
            StreamReport(str(table.get("name_in_destination") or name), str(schema.get("name_in_destination") or key))
            for key, schema in schemas.items()
            if schema.get("enabled", True)
            for name, table in (schema.get("tables") or {}).items()
            if table.get("enabled", True)
        ]

    def check(self) -> Flow[str]:
        answer = yield from self._ask(Request("GET", "/v1/connections", [("limit", "1")]))
        if answer.status != _OK:
            raise _refused(answer, "", "its connections")
        return "Fivetran answers, and takes the key and secret"

    # --- inside ---

    def connection(self, connection_id: str) -> Flow[Connection]:
        """Return a connection as it is now.

        :raises ConfigurationError: when there is none of that id.
        """
        answer = yield from self._ask(Request("GET", f"/v1/connections/{segment(connection_id)}"))
        if answer.status != _OK:
            raise _refused(answer, connection_id, "the connection")
        return Connection.parse(answer.json()["data"])

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Flow[Any]:
        """Return the ``data`` of any object of the account.

        :raises ConfigurationError: when there is no such object.
        """
        answer = yield from self._ask(Request("GET", path, query))
        if answer.status != _OK:
            raise _refused(answer, path.rpartition("/")[2], path)
        return answer.json()["data"]

    def post(self, path: str, body: JsonObject, timeout: float) -> Flow[Any]:
        """Return the ``data`` of what a request did."""
        answer = yield from self._ask(Request("POST", path, body=body, timeout=timeout))
        if answer.status not in {_OK, 201}:
            raise _refused(answer, path, path)
        return answer.json().get("data") or {}

    def _ask(self, request: Request) -> Flow[Answer]:
        return (yield from self.session.ask(request.with_headers(_ACCEPT)))

    def _url(self, connection_id: str) -> str:
        if self.session.settings.base_url == HOST:
            return f"https://fivetran.com/dashboard/connections/{connection_id}/status"
        return f"{self.session.settings.base_url}/v1/connections/{connection_id}"


class UnknownConnectionError(ConfigurationError):
    """The account has no connection of that id."""


def _before(now: Connection, since: datetime | None) -> Mark | None:
    """Return a mark for a try that follows one whose mark is lost: whatever ended since then counts as ours."""
    if since is None:
        return None
    earlier = [time for time in (now.succeeded_at, now.failed_at) if (parse_time(time) or since) < since]
    return Mark(
        now.succeeded_at if now.succeeded_at in earlier else "", now.failed_at if now.failed_at in earlier else ""
    )


def _refused(answer: Answer, connection_id: str, what: str) -> ConfigurationError | TransientError:
    try:
        said = answer.json().get("message") or ""
    except (TransientError, AttributeError, json.JSONDecodeError):
        said = answer.text[:200]
    if answer.status == _NOT_FOUND:
        return UnknownConnectionError(
            f"Fivetran has no {connection_id!r} (404). {said}",
            hint="copy the connection id from Setup in the dashboard; it looks like 'speak_inexpensive'",
        )
    if answer.status == _BAD:
        return ConfigurationError(f"Fivetran refused {what} of {connection_id!r} (400). {said}")
    return TransientError(f"{answer.url} answered {answer.status}. {said}")
