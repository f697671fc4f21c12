"""A remote's configuration, read and changed through its API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec, Tell, Tree
from airflow_elt_provider.remotes.config_as_code.schema_lock import Drift, SchemaLock
from airflow_elt_provider.remotes.flow import Flow


@dataclass(frozen=True)
class Discovered:
    """What a source has now.

    :param owner: the object whose lock it is to be held against.
    :param selected: the streams that the connection syncs.
    :param behind: fields of these that it does not sync, though it is to sync all, by stream: others of the source have
        followed a change that it has not.
    """

    owner: Key
    schema: SchemaLock
    selected: frozenset[str]
    behind: Mapping[str, Sequence[str]] = field(default_factory=dict)


class ConfigServer(Protocol):
    """One server. It remembers the ids of what it has read or made: :meth:`read` comes first.

    Values hold no id, no secret and nothing that the server counts or measures; what it masks is marked
    (:func:`~airflow_elt_provider.remotes.config_as_code.secret_values.marked`).
    """

    remote: ClassVar[str]
    kinds: ClassVar[Sequence[KindSpec]]
    """In the order in which they are made: what others refer to comes first."""

    def read(self, workspaces: Sequence[str] | None, tell: Tell) -> Flow[Tree]:
        """Return all objects, without locks.

        :param workspaces: names; None: all that the credentials see. One that there is not is empty, and the log says
            so: a restore makes it.
        """

    def reread(self, key: Key) -> Flow[ConfigObject | None]:
        """Return one object as it is now; None: it is gone, or was never there."""

    def create(self, wanted: ConfigObject) -> Flow[None]:
        """Make an object, and the workspace where it is missing. References lead to what is there already.

        A value that is to be kept secret is a :class:`~airflow_elt_provider.core.secret.Secret`. A created connection
        must not begin to sync before all its values are set.

        :raises ConfigurationError: when the server refuses it.
        """

    def update(self, before: ConfigObject, wanted: ConfigObject, fields: Collection[str]) -> Flow[None]:
        """Change an object, never make it anew; nothing of its data is reset.

        :param before: as it is now.
        :param wanted: all of it as it is to be; a secret that is still marked stays as it is.
        :param fields: the top-level fields that differ.
        """

    def switched_off(self, one: ConfigObject) -> ConfigObject:
        """Return an object as it is where nothing syncs by itself: a connection that is paused."""

    def delete(self, key: Key) -> Flow[None]:
        """Delete an object; one that is gone already is as good."""

    def reset(self, key: Key) -> Flow[None]:
        """Let the connection's data be deleted in the destination and read anew.

        :raises ConfigurationError: where the remote has no such thing.
        """

    def schemas(self, keys: Sequence[Key], tell: Tell) -> Flow[Mapping[Key, SchemaLock]]:
        """Return what the server last discovered of these objects' sources; those that own no schema are left out."""

    def discover(self, connection_id: str) -> Flow[Discovered]:
        """Let the server look at the source of a connection anew.

        :param connection_id: the remote's own id.
        :raises ConfigurationError: for one that there is not, and where the remote discovers no schemas.
        """

    def accept(self, connection_id: str, found: Discovered, drifts: Sequence[Drift]) -> Flow[None]:
        """Change the connection so that it syncs what these differences say."""


@runtime_checkable
class Objecting(Protocol):
    """A server some of whose values cannot be written, as can be told before anything is sent."""

    def objections(self, wanted: Sequence[ConfigObject]) -> Flow[Sequence[str]]:
        """Return what cannot be written, each with its remedy.

        :param wanted: what is to be made, whole; of what is to be changed, the top-level fields that differ.
        """


def spec_of(server: ConfigServer | type[ConfigServer], kind: str) -> KindSpec:
    """Return the kind of that name. :raises KeyError: when there is none."""
    for spec in server.kinds:
        if spec.name == kind:
            return spec
    raise KeyError(kind)
