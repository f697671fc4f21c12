"""Airbyte: one conversation for both of its APIs.

A connection has at most one running job, and a start that meets one gets 409: with the id of the last job written
down before each start, a job with a higher id is ours or as good as ours, however the answer was lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.airbyte_config import PREFIX as CONFIG_PREFIX
from airflow_elt_provider.remotes.airbyte_config import ConfigApi
from airflow_elt_provider.remotes.airbyte_jobs import Conflict, Dialect, Job, report_of
from airflow_elt_provider.remotes.airbyte_public import PREFIXES, PublicApi
from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Pause, Request
from airflow_elt_provider.remotes.model import (
    Intents,
    Order,
    Phase,
    Report,
    Sighting,
    Started,
    Watch,
    already_running,
)
from airflow_elt_provider.remotes.refusals import NoSuchApiError
from airflow_elt_provider.remotes.session import Session
from airflow_elt_provider.remotes.settings import RemoteSettings
from airflow_elt_provider.remotes.tokens import Token

log = logging.getLogger(__name__)

_CLOUD: Final = "https://api.airbyte.com"
_CLOUD_PAGES: Final = "https://cloud.airbyte.com"
_OK: Final = 200
_LOOKS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait before each look for a job whose start may have got through."""
_STARTS: Final = 3
_TOKEN_SECONDS: Final = 180.0
"""Of an application token, where the server does not say: the shortest that a version of it had."""


class Airbyte:
    """One Airbyte server.

    :param session: asks it.
    """

    name = "airbyte"

    def __init__(self, session: Session) -> None:
        self.session = session
        self._dialect: Dialect | None = None
        self._asked: set[str] = set()

    # --- start ---

    def start(self, order: Order, intents: Intents) -> Flow[Started]:
        api = yield from self.dialect()
        connection = yield from api.connection(order.remote_id)
        page = self._page(connection, order.remote_id)
        pending = bool(intents.read())
        for _ in range(_STARTS):
            found = yield from self._of_an_earlier_try(api, order, intents)
            if found:
                return Started(found.watch(), "found", page)
            _refuse_inactive(connection, order)
            last = next(iter((yield from api.jobs(order.remote_id))), None)
            if last and last.active:
                return self._under_way(order, last, intents, page)
            mark = last.id if last else 0
            intents.write(str(mark))
            job = yield from self._started(api, order, mark)
            if job:
                intents.write(f"{mark}/{job.id}")
                return Started(job.watch(), "started", page)
            if not pending:
                intents.write("")  # what was in the way was not started by us
        raise TransientError(
            f"Airbyte says that connection {order.remote_id!r} is busy, and lists no sync of it.",
            hint="a reset or clear may run, and ends by itself; else the server's workflow is stuck: see its web UI",
        )

    def _of_an_earlier_try(self, api: Dialect, order: Order, intents: Intents) -> Flow[Job | None]:
        """Return the job that an earlier try started: running, or succeeded while nobody watched.

        Where that try heard the job's id it is that one; else any above the last that there was before.
        """
        mark, _, known = (intents.read() or "").partition("/")
        if not mark and order.since is None:
            return None
        jobs = yield from api.jobs(order.remote_id, above=int(mark or 0), since=None if mark else order.since)
        if known:
            jobs = [job for job in jobs if str(job.id) == known]
        running = next((job for job in jobs if job.active), None)
        return running or next((job for job in jobs if job.phase is Phase.SUCCEEDED), None)

    def _under_way(self, order: Order, job: Job, intents: Intents, page: str) -> Started:
        what = f"job {job.id}, {job.status}"
        if order.on_running == "fail":
            raise already_running("Airbyte", order, what)
        if not order.may_adopt(job.created):
            return Started(job.watch(), "waiting", page)
        intents.write(f"{job.id - 1}/{job.id}")
        return Started(job.watch(), "adopted", page)

    def _started(self, api: Dialect, order: Order, mark: int) -> Flow[Job | None]:
        """Start; None: somebody else was quicker, look again."""
        self._asked.add(order.remote_id)
        try:
            outcome = yield from api.start(order.remote_id)
        except AnswerLostError as error:
            log.warning("%s Looking for the job that it may have started.", error)
            return (yield from self._appeared(api, order, mark, error))
        return None if isinstance(outcome, Conflict) else outcome

    def _appeared(self, api: Dialect, order: Order, mark: int, lost: EltError) -> Flow[Job | None]:
        for seconds in _LOOKS:
            yield Pause(seconds)
            try:
                jobs = yield from api.jobs(order.remote_id, above=mark)
            except TransientError:
                continue
            if jobs:
                return jobs[0]
        raise TransientError(f"{lost.message} No job of connection {order.remote_id!r} has appeared.")

    def find(self, order: Order, intents: Intents) -> Flow[Watch | None]:
        """Return the job that a start by this object has led to; before it was sent, what runs is somebody else's."""
        if order.remote_id not in self._asked:
            return None
        api = yield from self.dialect()
        job = yield from self._of_an_earlier_try(api, order, intents)
        return job.watch() if job and job.active else None

    def refuse_unknown(self, remote_id: str) -> Flow[None]:
        api = yield from self.dialect()
        yield from api.connection(remote_id)

    # --- watch, cancel, report ---

    def look(self, watches: Sequence[Watch]) -> Flow[Mapping[Watch, Sighting]]:
        api = yield from self.dialect()
        return (yield from api.look(watches))

    def cancel(self, watch: Watch) -> Flow[bool]:
        """Cancel the job if it is the one that runs on its connection now.

        Airbyte cancels whatever runs on the connection, whichever job it is told. So we look first; between that look
        and the request lies one round trip in which the job may end and another begin.
        """
        api = yield from self.dialect()
        running = next((job for job in (yield from api.jobs(watch.remote_id)) if job.active), None)
        if running is None or str(running.id) != watch.job_id:
            return False
        yield from api.cancel(watch.job_id)
        job = yield from api.job(watch.job_id)
        return job is None or job.phase is Phase.CANCELLED

    def report(self, watch: Watch, sighting: Sighting) -> Flow[Report]:
        api = yield from self.dialect()
        job = (yield from api.job(sighting.job_id)) or _last_known(watch, sighting)
        details = yield from api.details(sighting.job_id)
        connection = yield from api.connection(watch.remote_id)
        return report_of(job, details, self._page(connection, watch.remote_id))

    def check(self) -> Flow[str]:
        api = yield from self.dialect()
        return (yield from api.check())

    def _page(self, connection: JsonObject, connection_id: str) -> str:
        workspace = connection.get("workspaceId")
        middle = f"/workspaces/{workspace}" if workspace else ""
        base = self.session.settings.base_url
        return f"{_CLOUD_PAGES if base == _CLOUD else base}{middle}/connections/{connection_id}/status"

    # --- dialects ---

    def dialect(self) -> Flow[Dialect]:
        """Return the API that this server has: as the connection says, or by asking.

        :raises ConfigurationError: when it has none, or not the one that the connection names.
        """
        if self._dialect is None:
            self._dialect = yield from self._detected()
        return self._dialect

    def _detected(self) -> Flow[Dialect]:
        wanted = self.session.settings.api
        refused: list[str] = []
        if wanted in {"auto", "public_v1"}:
            for prefix in PREFIXES:
                if (yield from self._answers(f"{prefix}/health", refused)):
                    return PublicApi(self.session, prefix)
        if wanted in {"auto", "config_v1"} and (yield from self._answers(f"{CONFIG_PREFIX}/health", refused)):
            return ConfigApi(self.session)
        tried = {"auto": "neither the public nor the configuration API", "public_v1": "no public API",
                 "config_v1": "no configuration API"}[wanted]  # fmt: skip
        raise ConfigurationError(
            f"{self.session.settings.base_url} has {tried} of Airbyte ({'; '.join(refused)}).",
            hint="wrong API dialect or path: the host is the web UI's address; set api to auto",
        )

    def _answers(self, path: str, refused: list[str]) -> Flow[bool]:
        answer = yield from self.session.attempt(Request("GET", path))
        if isinstance(answer, NoSuchApiError):
            refused.append(f"{path} is a web page")
            return False
        if isinstance(answer, EltError):
            raise answer
        if answer.status != _OK:
            refused.append(f"{path} answers {answer.status}")
        return answer.status == _OK


def without_api_path(settings: RemoteSettings) -> RemoteSettings:
    """Return the settings with the web UI's address, where somebody pasted that of the API."""
    for prefix in sorted((*PREFIXES, CONFIG_PREFIX), key=len, reverse=True):
        if settings.base_url.endswith(prefix):
            return replace(settings, base_url=settings.base_url.removesuffix(prefix))
    return settings


def application_token(settings: RemoteSettings, session: Session) -> Flow[Token]:
    """Exchange client id and secret for a token (``POST /applications/token``).

    :param session: shows what the proxies in front want, not what the application wants.
    """
    secret = settings.password.reveal() if settings.password else ""
    body = {"client_id": settings.user, "client_secret": secret, "grant_type": "client_credentials"}
    prefixes = (CONFIG_PREFIX,) if settings.api == "config_v1" else (*PREFIXES, CONFIG_PREFIX)
    said = ""
    for prefix in prefixes:
        request = Request("POST", f"{prefix}/applications/token", body={**body, "grant-type": body["grant_type"]})
        answer = yield from session.attempt(request)
        if isinstance(answer, Answer) and answer.status == _OK and answer.is_json:
            value = answer.json()
            return Token(Secret(str(value["access_token"])), float(value.get("expires_in") or _TOKEN_SECONDS))
        if isinstance(answer, EltError) and not isinstance(answer, NoSuchApiError):
            raise answer
        said = said or (f"answered {answer.status}" if isinstance(answer, Answer) else answer.message)
    raise ConfigurationError(
        f"Airbyte at {settings.base_url} gives no token for client {settings.user!r} ({said}).",
        hint="auth=client_credentials wants an application's client id and secret (Settings, Applications)",
    )


def _refuse_inactive(connection: JsonObject, order: Order) -> None:
    status = connection.get("status")
    if status in {"inactive", "deprecated", "locked"}:
        raise ConfigurationError(
            f"Airbyte's connection {order.remote_id!r} ({connection.get('name')}) is {status}: it cannot be synced.",
            hint="enable it in the web UI" if status == "inactive" else "use another connection",
        )


def _last_known(watch: Watch, sighting: Sighting) -> Job:
    return Job(int(sighting.job_id), watch.remote_id, sighting.word, None, None, sighting.rows, sighting.bytes)
