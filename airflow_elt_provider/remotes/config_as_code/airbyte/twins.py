"""Two applies at the same time: neither sees what the other makes until it is there twice."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.airbyte.api import Kind, ObjectsApi
from airflow_elt_provider.remotes.config_as_code.airbyte.names import Names
from airflow_elt_provider.remotes.config_as_code.model import Key
from airflow_elt_provider.remotes.flow import Flow

_FEW: Final = 100
"""Objects of a kind that one look tells: they are looked at each time."""
_OFTEN: Final = 10.0
"""Seconds between two looks where there are more."""


class Twins:
    """Looks, before a connection is switched on, whether somebody else has made one of the same name meanwhile.

    :param names: learns what is seen.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._made: dict[tuple[Kind, str], set[Key]] = {}
        self._looked: dict[tuple[Kind, str], tuple[float, int]] = {}

    def made(self, kind: Kind, key: Key) -> None:
        """Learn that one is about to be made here: also if its answer is lost, it may be there."""
        self._made.setdefault((kind, key.workspace), set()).add(key)

    def has_made(self, kind: Kind, key: Key) -> bool:
        """Whether one was made here."""
        return key in self._made.get((kind, key.workspace), ())

    def refuse_actors(self, api: ObjectsApi, workspace: str) -> Flow[None]:
        """Look at the sources and destinations that were made, once: connections come after all of them.

        :raises ConfigurationError: where one is there twice.
        """
        for kind in ("source", "destination"):
            if (kind, workspace) in self._made and (kind, workspace) not in self._looked:
                yield from self.refuse(api, kind, workspace)

    def refuse(self, api: ObjectsApi, kind: Kind, workspace: str) -> Flow[None]:
        """Look at all of a kind; of very many only every few seconds.

        :raises ConfigurationError: where one that was made here is there twice.
        """
        seen, many = self._looked.get((kind, workspace), (0.0, 0))
        id_ = self._names.workspace_id(workspace)
        if id_ is None or (many > _FEW and time.monotonic() - seen < _OFTEN):
            return
        found = yield from api.listed(kind, id_)
        self._looked[kind, workspace] = (time.monotonic(), len(found))
        self._names.saw(kind, workspace, found)
        counts = Counter(one.name for one in found)
        twins = [str(key) for key in sorted(self._made.get((kind, workspace), ())) if counts[key.name] > 1]
        if twins:
            raise ConfigurationError(
                f"There are several of {', '.join(twins)} by now: somebody else made one at the same time.",
                hint="delete all but one on the server, see that nobody else applies, and apply again",
            )
