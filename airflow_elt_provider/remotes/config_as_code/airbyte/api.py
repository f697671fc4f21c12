"""What the configuration of an Airbyte server needs of its API: objects by id, in the same values from each dialect."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from airflow_elt_provider.remotes.config_as_code.model import Values
from airflow_elt_provider.remotes.config_as_code.schema_lock import LockedStream, SchemaLock
from airflow_elt_provider.remotes.flow import Flow

Kind = Literal["source", "destination", "connection"]
ActorKind = Literal["source", "destination"]


@dataclass(frozen=True)
class Found:
    """An object as it is on the server.

    :param name: the server's own; several objects may have the same.
    :param values: what its file will hold, see :data:`~airflow_elt_provider.remotes.config_as_code.airbyte.KINDS`,
        secrets marked; but ``source`` and ``destination`` of a connection are their ids. Streams, schedule and
        namespace are as :mod:`~airflow_elt_provider.remotes.config_as_code.airbyte.streams` builds them.
    :param copied: the streams as a connection keeps a copy of them, by name; empty in lists, and where it keeps none.
    """

    id: str
    kind: Kind
    workspace_id: str
    name: str
    values: Values
    copied: Mapping[str, LockedStream] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class SourceStreams:
    """What a source has.

    :param locked: by dotted name; the type of a field is ``unknown`` where the API does not tell it.
    :param modes: by dotted name: the sync modes, in the public API's words, that are possible; empty: not told.
    """

    locked: Mapping[str, LockedStream]
    modes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def lock(self) -> SchemaLock:
        """As a lock file holds it."""
        return SchemaLock(self.locked)


def connector_of(kind: ActorKind, repository: str) -> str:
    """Return the short name of a connector.

    >>> connector_of("source", "registry.acme.example/source-acme-crm")
    'acme-crm'

    :param repository: of its image.
    """
    return repository.rpartition("/")[2].removeprefix(f"{kind}-")


class ObjectsApi(Protocol):
    """One dialect. Ids come from what it has listed or made.

    An id that there is not is a ConfigurationError, except where something else is said. What the server refuses is
    one too, with its words (without the secrets that were sent).

    Values that are sent hold ids where :class:`Found` has them, a :class:`~airflow_elt_provider.core.secret.Secret`
    where one is to be written, and a mark where a secret is to stay as it is (never in :meth:`create`). A field that
    is left out is not managed: a creation leaves it to the server.
    """

    def workspaces(self) -> Flow[Mapping[str, str]]:
        """Return the names of all workspaces that the credentials see, by id."""

    def create_workspace(self, name: str) -> Flow[str]:
        """Make a workspace and return its id."""

    def definitions(self, kind: ActorKind, workspace_id: str) -> Flow[Mapping[str, str]]:
        """Return the connectors that a workspace can use: short names such as ``postgres``, by the definition's id."""

    def listed(self, kind: Kind, workspace_id: str) -> Flow[Sequence[Found]]:
        """Return all objects of a kind; those that are deleted (``deprecated``) are left out."""

    def get(self, kind: Kind, id_: str) -> Flow[Found | None]:
        """Return one object as it is now; None: it is gone."""

    def create(self, kind: Kind, workspace_id: str, name: str, values: Values) -> Flow[str]:
        """Make an object and return its id. ``definition`` is one that the server has.

        A connection is made inactive, whatever ``status`` says; the facade switches it on with :meth:`update`.

        :raises AnswerLostError: when it may be there; it is not sent again.
        """

    def update(self, kind: Kind, id_: str, values: Values, fields: Collection[str]) -> Flow[None]:
        """Change an object.

        :param values: all that is wanted of it.
        :param fields: the top-level fields to write; all others stay as they are. ``configuration`` is partial: what
            it leaves out stays. With ``streams`` the connection takes over the schemas last discovered, its data is
            not reset.
        """

    def delete(self, kind: Kind, id_: str) -> Flow[None]:
        """Delete an object; one that is gone already is as good."""

    def discovered(self, source_id: str, destination_id: str, *, fresh: bool) -> Flow[SourceStreams]:
        """Return the streams of a source.

        :param destination_id: of any connection that reads the source, "" for none.
        :param fresh: whether the server looks anew (minutes), rather than into its memory.
        """

    def reset(self, connection_id: str) -> Flow[None]:
        """Let the data of all streams of a connection be deleted in the destination and read anew.

        :raises ConfigurationError: where the connection is not active.
        :raises TransientError: where a job runs on it.
        """

    def objections(self, kind: Kind, values: Values) -> Sequence[str]:
        """Return why this API cannot write these values, each with its remedy: for the plan, before anything is sent.

        :param values: as a file has them, with names in the place of ids.
        """
