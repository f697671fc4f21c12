"""Destinations as the contract suite sees them: something to open, and a way to look inside that is not our own."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from airflow_elt_provider.stages.local import LocalStage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_elt_provider.core.protocols import Destination, Stage

SAME: Final = "same"
"""The target shows the very text that the source shows."""
_Server = TypeVar("_Server", bound=AbstractContextManager[Any])


@dataclass(frozen=True)
class Shown:
    """What a target has for a column of `test_types.CASES`.

    :param type: the column's type as the system's catalog spells it; "" where that does not matter.
    :param texts: what the target shows for the case's values.
    """

    type: str = ""
    texts: tuple[str | None, ...] | str = SAME


class Servers:
    """What the candidates of one test process share: every server is started once, when it is first needed."""

    def __init__(self) -> None:
        """Begin with none."""
        self._stack = ExitStack()
        self._running: dict[Any, Any] = {}

    def of(self, make: Callable[[], _Server]) -> _Server:
        """Return the running server that `make` (a class, or a function of a module) makes."""
        if make not in self._running:
            self._running[make] = self._stack.enter_context(make())
        running: _Server = self._running[make]
        return running

    def close(self) -> None:
        """Stop them all."""
        self._stack.close()


class DestinationAtWork(Protocol):
    """What the suite needs of a candidate."""

    @property
    def kind(self) -> str:
        """The system's name in the registry."""

    @property
    def types(self) -> Mapping[str, Shown]:
        """What is special about a column of `test_types.CASES`; the others show what the source shows."""

    @property
    def nulled(self) -> Mapping[str, int]:
        """How many of those values the system has no equal for, by column."""

    @property
    def keeps_numeric(self) -> bool:
        """Whether a number without declared precision stays a number."""

    def open(self, observe: Callable[[str], None]) -> Destination:
        """Return a destination as a fresh process would make it."""

    def stage(self, folder: Path) -> Stage:
        """Return the stage that it loads from; `folder` is the test's own."""

    def recipe(self) -> dict[str, Any]:
        """Return what :func:`reopened` needs in another process, as JSON: ``class`` (``module:name``) and arguments."""

    def name(self, target: str) -> str:
        """Return the target's name (as `target_table` has it) in the system's own SQL."""

    def text(self, expression: str) -> str:
        """Return the expression that shows a column, or an expression of columns, as text.

        :param expression: SQL; an identifier that needs quotes comes in double ones.
        """

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query with the system's own client."""

    def run(self, sql: str) -> None:
        """Run a statement with the system's own client."""

    def version_of(self, target: str) -> object:
        """Return something that changes when the target is written to."""

    def columns(self, target: str) -> dict[str, str]:
        """Return the target's columns, spelled as the source spells them, and their types; none where it is not."""

    def staging_tables(self) -> list[str]:
        """Return staging tables that were left behind."""

    def wipe(self, target: str) -> None:
        """Begin anew: forget the target, all checkpoints and all receipts."""


@dataclass(frozen=True)
class DestinationCandidate:
    """A row of `DESTINATIONS`.

    :param open: lends one, with nothing in it, given the shared servers and an empty folder.
    :param unavailable: why there can be none on this machine, None where there can.
    :param heavy: whether it needs more than Python packages, or minutes: left to `make test-heavy`.
    :param stride: power cuts happen at every so many moments, beginning elsewhere in each test; 1, or with
        `ELT_EXPLORE=1`: at all.
    :param histories: share of the random histories that are played.
    :param share: of so many tests one is run, always the same; all of them with `ELT_EXPLORE=1`.
    :param exceptions: pattern of test names -> why this destination cannot pass them; it must then fail.
    """

    open: Callable[[Servers, Path], AbstractContextManager[DestinationAtWork]]
    unavailable: Callable[[], str | None] = lambda: None
    heavy: bool = False
    stride: int = 1
    histories: float = 1.0
    share: int = 1
    exceptions: Mapping[str, str] = field(default_factory=dict)


def local_stage(folder: Path) -> Stage:
    """Return a stage in the test's own folder."""
    return LocalStage(folder / "stage")


def made_by(work: object, **arguments: Any) -> dict[str, Any]:
    """Return the recipe of a destination at work."""
    return {"class": f"{type(work).__module__}:{type(work).__name__}", **arguments}


def reopened(recipe: dict[str, Any]) -> DestinationAtWork:
    """Return the destination at work that another process made: its class's `reopen(**arguments)`."""
    arguments = dict(recipe)
    module, _, name = arguments.pop("class").partition(":")
    found: DestinationAtWork = getattr(importlib.import_module(module), name).reopen(**arguments)
    return found
