"""Carries a plan out: only what it shows, only where nothing else has changed since, and again after a crash."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError, EltError, TransientError
from airflow_elt_provider.remotes.config_as_code.changes import ABSENT, FieldChange, changes, shown
from airflow_elt_provider.remotes.config_as_code.model import (
    FILES,
    ConfigObject,
    Key,
    KindSpec,
    Tell,
    Tree,
    silent,
    split,
)
from airflow_elt_provider.remotes.config_as_code.plan import Plan, PlannedChange
from airflow_elt_provider.remotes.config_as_code.secret_values import Lookup, references, resolved
from airflow_elt_provider.remotes.config_as_code.server import ConfigServer, spec_of
from airflow_elt_provider.remotes.flow import Flow, Pause
from airflow_elt_provider.remotes.patience import patiently

log = logging.getLogger(__name__)

State = Literal["todo", "done", "moved"]
_LOOKS: Final = (0.0, 1.0, 2.0, 4.0)
"""Seconds to wait before each look for an object whose making may have got through."""
_OF_DATA: Final = frozenset({"sync_mode", "primary_key", "cursor"})


class RemoteChangedError(ConfigurationError):
    """The server is not as it was when the plan was made."""


@dataclass(frozen=True)
class ApplyOptions:
    """How a plan is carried out.

    :param reset: whether a connection whose streams changed their modes or keys has its data reset.
    :param outage_tolerance: seconds that the server may fail to answer.
    :param tell: hears before each change how many are made; what it raises ends the work there.
    """

    reset: bool = False
    outage_tolerance: float = 300.0
    tell: Tell = silent


@dataclass(frozen=True)
class Applied:
    """What was done.

    :param done: each change as a sentence begins: ``created source ...``.
    :param found_done: what an earlier try had done already.
    :param not_taken: values that the server did not take over, though it answered well.
    """

    done: Sequence[str] = ()
    found_done: Sequence[Key] = ()
    not_taken: Sequence[str] = ()


@dataclass
class Application:
    """One try to carry a plan out.

    :param files: the tree that the plan was made of.
    :param lookup: gives the secrets that files refer to; all are read before anything is changed.
    """

    server: ConfigServer
    plan: Plan
    files: Tree
    lookup: Lookup
    options: ApplyOptions = field(default_factory=ApplyOptions)
    _done: list[str] = field(default_factory=list, init=False)
    _found: list[Key] = field(default_factory=list, init=False)
    _not_taken: list[str] = field(default_factory=list, init=False)

    def prepare(self) -> dict[Key, ConfigObject]:
        """Return what is to be written, secrets resolved.

        :raises ConfigurationError: where the plan has problems, the files are not those of the plan, or a reference
            leads nowhere.
        """
        if self.plan.problems:
            raise ConfigurationError(f"The plan cannot be carried out: {'; '.join(self.plan.problems)}")
        wanted: dict[Key, ConfigObject] = {}
        kinds = {spec.name for spec in self.server.kinds}
        for change in self.plan.changes:
            if change.key.kind not in kinds:
                raise ConfigurationError(
                    f"The plan has a {change.key}; {self.server.remote} has no such kind.", hint="make a new plan"
                )
            if change.action == "delete":
                continue
            one = self.files.objects.get(change.key)
            if one is None or one.compared() != change.wanted:
                raise ConfigurationError(
                    f"The file of {change.key} is not as it was when the plan was made.", hint="make a new plan"
                )
            sent = {name: value for name, value in change.sent.items() if name in one.values}
            wanted[change.key] = replace(one, values=resolved(sent, self.lookup))
        return wanted

    def run(self, wanted: Mapping[Key, ConfigObject], now: Tree) -> Flow[Applied]:
        """Carry it out.

        :param wanted: what :meth:`prepare` returned.
        :param now: the server, read a moment ago.
        :raises RemoteChangedError: when it changed since the plan; before anything is written where that can be seen.
        :raises EltError: the first failure; what was done stays done, and the same plan goes on from there.
        """
        self._refuse_moved([(change, now.objects.get(change.key)) for change in self.plan.changes])
        for number, change in enumerate(self.plan.changes):
            self.options.tell("changes", number, len(self.plan.changes))
            try:
                yield from self._patiently(change, wanted)
                if self.options.reset and _touches_data(change, spec_of(self.server, change.key.kind)):
                    yield from self._reset(change.key)
            except EltError as error:
                if str(change.key) not in error.message:
                    error.message = f"{change.key}: {error.message}"
                    error.args = (error.message,)
                log.info("Done so far: %s of %s. The same again goes on from here.", len(self._done),
                         len(self.plan.changes))  # fmt: skip
                raise
        return Applied(self._done, self._found, self._not_taken)

    def _patiently(self, change: PlannedChange, wanted: Mapping[Key, ConfigObject]) -> Flow[None]:
        return patiently(lambda: self._step(change, wanted), self.options.outage_tolerance, self.plan.remote)

    def _step(self, change: PlannedChange, wanted: Mapping[Key, ConfigObject]) -> Flow[None]:
        present = yield from self.server.reread(change.key)
        self._refuse_moved([(change, present)])
        spec = spec_of(self.server, change.key.kind)
        if state_of(change, present, spec) == "done" and not change.writes_secrets:
            self._found.append(change.key)
            return
        if change.action == "delete":
            yield from self.server.delete(change.key)
            self._say("deleted", change)
            return
        target = wanted[change.key]
        if present is None:
            present = yield from self._created(target)
        yield from self._updated(change, present, target, spec)
        self._say("created" if change.action == "create" else "changed", change)

    def _reset(self, key: Key) -> Flow[None]:
        """Reset, also what an earlier try has changed: that it has reset it nobody knows."""
        yield from patiently(lambda: self.server.reset(key), self.options.outage_tolerance, self.plan.remote)
        self._done.append(f"reset {key}")

    def _created(self, target: ConfigObject) -> Flow[ConfigObject]:
        """Create, and look: an answer that was lost may hide an object that is there."""
        lost: AnswerLostError | None = None
        try:
            yield from self.server.create(target)
        except AnswerLostError as error:
            lost = error
        for seconds in _LOOKS:
            yield Pause(seconds)
            present = yield from self.server.reread(target.key)
            if present is not None:
                return present
        raise lost or TransientError(f"{target.key} was created, and is not to be found.")

    def _updated(
        self, change: PlannedChange, present: ConfigObject, target: ConfigObject, spec: KindSpec
    ) -> Flow[None]:
        plain = self.files.objects[change.key].compared()
        fields = {one.top for one in changes(plain, present.compared(), spec)}
        if change.writes_secrets:
            fields |= {path.partition(".")[0] for path, _ in references(plain)}
        if not fields:
            return
        yield from self.server.update(present, target, fields)
        after = yield from self.server.reread(change.key)
        left = changes(plain, after.compared() if after else {}, spec)
        self._not_taken += [
            f"{change.key}: {one.place} is {shown(one.new)}, not {shown(one.old)}" for one in left if one.top != FILES
        ]

    def _say(self, done: str, change: PlannedChange) -> None:
        self._done.append(f"{done} {change.key}")
        log.info("%s %s", done.capitalize(), change.key)

    def _refuse_moved(self, pairs: Sequence[tuple[PlannedChange, ConfigObject | None]]) -> None:
        said = [
            sentence for change, present in pairs
            if (sentence := _moved(change, present, spec_of(self.server, change.key.kind)))
        ]  # fmt: skip
        if said:
            raise RemoteChangedError(
                f"The server changed since the plan was made: {'; '.join(said)}.",
                hint="make a new plan, and read it",
            )


def state_of(change: PlannedChange, present: ConfigObject | None, spec: KindSpec) -> State:
    """Return whether a change is to be made, was made already, or does not fit any more.

    Every field has to be as it was or as it is to be: a try that broke off half-way leaves some of each.
    """
    if change.action == "delete":
        if present is None:
            return "done"
        return "todo" if present.compared() == change.before else "moved"
    if present is None:
        return "todo" if change.action == "create" else "moved"
    left = _left(change, present, spec)
    if not left:
        return "done"
    return "todo" if {one.top for one in left} <= _may_differ(change, present, spec) else "moved"


def _left(change: PlannedChange, present: ConfigObject, spec: KindSpec) -> list[FieldChange]:
    return changes(change.wanted or {}, present.compared(), spec)


def _may_differ(change: PlannedChange, present: ConfigObject, spec: KindSpec) -> frozenset[str]:
    if change.action == "create":
        return spec.late
    now, before = present.compared(), change.before or {}
    planned = {one.top for one in change.fields}
    return frozenset(name for name in planned if now.get(name, ABSENT) == before.get(name, ABSENT))


def _moved(change: PlannedChange, present: ConfigObject | None, spec: KindSpec) -> str:
    if state_of(change, present, spec) != "moved":
        return ""
    if present is None:
        return f"{change.key} is gone"
    if change.action == "delete":
        found = changes(change.before or {}, present.compared(), spec)
        return f"{change.key} was changed ({_first(found)})"
    allowed = _may_differ(change, present, spec)
    found = [one for one in _left(change, present, spec) if one.top not in allowed]
    word = "is there already, and differs" if change.action == "create" else "was changed"
    return f"{change.key} {word} ({_first(found)})"


def _first(found: Sequence[FieldChange]) -> str:
    told = ", ".join(f"{one.place} is {shown(one.new)}" for one in found[:3])
    return told + (f" and {len(found) - 3} more" if len(found) > 3 else "")  # noqa: PLR2004


def _touches_data(change: PlannedChange, spec: KindSpec) -> bool:
    if change.action != "update":
        return False
    if spec.rereads:
        return spec.rereads(change.before or {}, change.wanted or {})
    ends = [split(one.path) for one in change.fields]  # two parts: a whole stream, which is new or gone
    return any(len(parts) > 2 and parts[-1] in _OF_DATA for parts in ends)  # noqa: PLR2004
