"""The calls of Digdag's REST API that configuration needs (https://docs.digdag.io/api/)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.config_as_code.digdag.archive import Archive, unpacked
from airflow_elt_provider.remotes.flow import Answer, Flow, JsonObject, Request, segment
from airflow_elt_provider.remotes.session import Session

log = logging.getLogger(__name__)

_OK, _BAD, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 200, 400, 404, 409, 422
_MOST_LISTED: Final = 100
"""``GET /api/projects`` tells of so many projects and no more, and takes no page."""
_MOST_NAMES: Final = 1000
GRACE: Final = timedelta(minutes=1)
"""A new project's schedules begin so much later than its push: its secrets are set by then, and what is to be disabled
is. That is as if it had been pushed a minute later."""
_IN_DATABASE, _NOWHERE = "db", "none"


class DigdagApi:
    """Asks one Digdag server."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # --- projects ---

    def projects(self) -> Flow[list[JsonObject]]:
        """Return all projects that have a workflow, and the oldest hundred of those that have none."""
        found = {str(one["id"]): one for one in (yield from self._listed("/api/projects", "projects"))}
        if len(found) >= _MOST_LISTED:
            owners = {str(one["project"]["id"]) for one in (yield from self._paged("/api/workflows", "workflows"))}
            for project_id in sorted(owners - found.keys(), key=int):
                answer = yield from self._get(f"/api/projects/{segment(project_id)}")
                if answer.status != _NOT_FOUND:
                    found[project_id] = _good(answer, f"project {project_id}").json()
        return list(found.values())

    def project(self, name: str) -> Flow[JsonObject | None]:
        """Return the project of this name; None for none."""
        rows = yield from self._listed("/api/projects", "projects", [("name", name)])
        return next((row for row in rows if row["name"] == name), None)

    def archive(self, project: JsonObject) -> Flow[Archive | None]:
        """Return the files of the project's newest revision; None: the project is gone.

        :raises ConfigurationError: for an archive that is lost, cannot be read, or is given out from elsewhere only.
        """
        name, kept = str(project["name"]), str(project.get("archiveType") or "")
        path = f"/api/projects/{segment(str(project['id']))}/archive"
        query = [("revision", str(project["revision"])), ("direct_download", "false")]
        answer = yield from self._session.attempt(Request("GET", path, query, accept="*/*"))
        if isinstance(answer, EltError):
            raise _not_given_out(answer, name, kept) from answer
        if answer.status != _NOT_FOUND:
            return unpacked(_good(answer, f"project {name!r}").content, f"project {name!r}")
        if (yield from self.project(name)) is None:
            return None
        if kept == _NOWHERE:
            log.warning("Digdag keeps no archive of project %r: there are no files to export.", name)
            return Archive()
        raise ConfigurationError(
            f"Digdag has lost the archive of project {name!r}. {answer.text[:200]}", hint="push the project anew"
        )

    def push(self, name: str, archive: Archive, present: JsonObject | None) -> Flow[None]:
        """Make a revision. Schedules that are disabled stay so, and go on from their last session.

        :param present: the project, None where it is new.
        """
        taken, query = set[str](), [("project", name)]
        if present is None:
            answer = yield from self._get("/api/projects", [("name", name)])
            query += _schedule_from(answer)
        else:
            path = f"/api/projects/{segment(str(present['id']))}/revisions"
            taken = {str(one["revision"]) for one in (yield from self._listed(path, "revisions"))}
        packed, revision = archive.packed(), archive.revision()
        for called in (revision, *(f"{revision}-{number}" for number in range(2, _MOST_NAMES))):
            if called in taken:  # one of before, or of other files: a revision once made is never the newest again
                continue
            request = Request(
                "PUT", "/api/projects", [*query, ("revision", called)], body=packed, content_type="application/gzip"
            )
            answer = yield from self._session.ask(request)
            if answer.status != _CONFLICT:
                _good(answer, f"the files of project {name!r}", hint="correct its .dig files: digdag check finds them")
                return
        raise ConfigurationError(
            f"Project {name!r} has {_MOST_NAMES} revisions named {revision}.", hint="make a small change to its files"
        )

    def delete_project(self, project_id: str) -> Flow[None]:
        """Delete a project, its schedules with it; its attempts stay to be looked at."""
        answer = yield from self._session.ask(Request("DELETE", f"/api/projects/{segment(project_id)}"))
        if answer.status != _NOT_FOUND:
            _good(answer, f"to delete project {project_id}")

    # --- secrets ---

    def secrets(self, project_id: str) -> Flow[list[str]]:
        """Return the names of a project's secrets; none of a project that is gone."""
        answer = yield from self._get(f"/api/projects/{segment(project_id)}/secrets")
        if answer.status == _NOT_FOUND:
            return []
        return sorted(str(one["key"]) for one in _good(answer, "the names of secrets").listed("secrets"))

    def put_secret(self, project_id: str, name: str, value: Secret) -> Flow[None]:
        """Set a secret."""
        path = f"/api/projects/{segment(project_id)}/secrets/{segment(name)}"
        answer = yield from self._session.ask(Request("PUT", path, body={"value": value.reveal()}, secrets=[value]))
        if answer.status in {_BAD, _UNPROCESSABLE}:  # what it says may repeat the value
            raise ConfigurationError(
                f"Digdag refused the secret {name!r} ({answer.status}).", hint="values have at most 1024 bytes"
            )
        _good(answer, f"the secret {name!r}")

    def delete_secret(self, project_id: str, name: str) -> Flow[None]:
        """Delete a secret; one that is gone is as good."""
        path = f"/api/projects/{segment(project_id)}/secrets/{segment(name)}"
        answer = yield from self._session.ask(Request("DELETE", path))
        if answer.status != _NOT_FOUND:
            _good(answer, f"to delete the secret {name!r}")

    # --- schedules ---

    def schedules(self) -> Flow[list[JsonObject]]:
        """Return the schedules of all projects."""
        return (yield from self._paged("/api/schedules", "schedules"))

    def schedule(self, project_id: str, workflow: str) -> Flow[JsonObject | None]:
        """Return the schedule of a workflow; None for none."""
        path = f"/api/projects/{segment(project_id)}/schedules"
        answer = yield from self._get(path, [("workflow", workflow)])
        if answer.status == _NOT_FOUND:
            return None
        rows = _good(answer, "the schedule").listed("schedules")
        return next((row for row in rows if row["workflow"]["name"] == workflow), None)

    def switch(self, schedule_id: str, *, disabled: bool) -> Flow[None]:
        """Disable or enable a schedule. Enabled again it makes up for the sessions that it missed, as Digdag does."""
        word = "disable" if disabled else "enable"
        request = Request("POST", f"/api/schedules/{segment(schedule_id)}/{word}", body={})
        _good((yield from self._session.ask(request)), f"to {word} schedule {schedule_id}")

    # --- inside ---

    def _get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Flow[Answer]:
        return (yield from self._session.ask(Request("GET", path, query)))

    def _listed(self, path: str, name: str, query: Sequence[tuple[str, str]] = ()) -> Flow[list[JsonObject]]:
        return _good((yield from self._get(path, query)), name).listed(name)

    def _paged(self, path: str, name: str) -> Flow[list[JsonObject]]:
        """Return all of a list that comes by ascending ids, of which a page may leave some out."""
        found: dict[int, JsonObject] = {}
        last = 0
        while True:
            page = yield from self._listed(path, name, [("last_id", str(last))] if last else ())
            newer = {int(one["id"]): one for one in page if int(one["id"]) > last}
            if not newer:
                return list(found.values())
            found.update(newer)
            last = max(newer)


def _good(answer: Answer, what: str, hint: str = "look at the server's log") -> Answer:
    if answer.status == _OK:
        return answer
    said = answer.text[:300]
    if answer.status in {_BAD, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE}:
        raise ConfigurationError(f"Digdag refused {what} ({answer.status}). {said}", hint=hint)
    raise TransientError(f"{answer.url} answered {answer.status}. {said}")


def _not_given_out(error: EltError, name: str, kept: str) -> EltError:
    if not isinstance(error, ConfigurationError) or kept in {"", _IN_DATABASE}:
        return error
    return ConfigurationError(
        f"The archive of project {name!r} is in Digdag's {kept} storage: {error.message}",
        hint="use a version that knows direct_download=false, or set archive.type = db on the server",
    )


def _schedule_from(answer: Answer) -> list[tuple[str, str]]:
    """Return from when the schedules of a new project count, by the server's own clock: ours may be hours behind."""
    try:
        now = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError, TypeError):
        return []
    now = now if now.tzinfo else now.replace(tzinfo=UTC)
    return [("schedule_from", f"{(now + GRACE).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")]
