"""The part of a fake Digdag's API that is about schedules: they come with a push, and never run by themselves here."""

from __future__ import annotations

from aiohttp import web

from tests.fakes.digdag_model import Schedule
from tests.fakes.digdag_projects import LISTED, DigdagProjects, found_in
from tests.fakes.digdag_wire import number_of
from tests.fakes.http_fake import answer


class DigdagSchedules(DigdagProjects):
    """Handlers."""

    def _list_schedules(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """List those of all projects, by their ids."""
        return _page(request, list(self._schedules().values()))

    def _list_schedules_of_project(self, request: web.Request, body: bytes) -> web.StreamResponse:
        workflow = request.query.get("workflow")
        schedules = self._project(request).schedules
        return _page(request, [one for name, one in schedules.items() if workflow in {None, name}])

    def _get_schedule(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return answer(self._schedule(request).row())

    def _disable_schedule(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Let a schedule rest, also over the next revisions."""
        schedule = self._schedule(request)
        schedule.disabled_at = schedule.updated_at = self.clock()
        return answer(schedule.summary())

    def _enable_schedule(self, request: web.Request, body: bytes) -> web.StreamResponse:
        schedule = self._schedule(request)
        schedule.disabled_at, schedule.updated_at = None, self.clock()
        return answer(schedule.summary())

    def _schedule(self, request: web.Request) -> Schedule:
        return found_in(self._schedules(), request.match_info["id"], "schedule")

    def _schedules(self) -> dict[str, Schedule]:
        return {one.id: one for project in self.projects.values() for one in project.schedules.values()}


def _page(request: web.Request, schedules: list[Schedule]) -> web.StreamResponse:
    last = number_of(request, "last_id") or 0
    found = sorted((one for one in schedules if int(one.id) > last), key=lambda one: int(one.id))
    return answer({"schedules": [one.row() for one in found[:LISTED]]})
