"""The drift gate: what a source has now, held against the schema that somebody accepted, before anything is synced."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_elt_provider.errors import ConfigurationError, SchemaDriftError
from airflow_elt_provider.remotes.config_as_code.file_paths import possible_paths
from airflow_elt_provider.remotes.config_as_code.files import LOCK, PROPOSED, lock_file, read_lock
from airflow_elt_provider.remotes.config_as_code.folders import Folder
from airflow_elt_provider.remotes.config_as_code.model import Key
from airflow_elt_provider.remotes.config_as_code.schema_lock import (
    Drift,
    DriftPolicy,
    LockedStream,
    SchemaLock,
    drift,
    drift_table,
    listing,
)
from airflow_elt_provider.remotes.config_as_code.server import ConfigServer, Discovered, spec_of
from airflow_elt_provider.remotes.config_as_code.yaml_text import loaded
from airflow_elt_provider.remotes.flow import Call, Flow, Pause

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """What the gate found.

    :param lock: URI of the lock file.
    :param drifts: what differs, less what is to be ignored.
    :param failing: those that keep the sync from starting; then nothing was applied.
    :param proposed: URI of the proposal for the lock, "" for none.
    """

    owner: Key
    lock: str
    drifts: Sequence[Drift] = ()
    failing: Sequence[Drift] = ()
    proposed: str = ""

    def listed(self) -> list[dict[str, str]]:
        """Return the differences as XCom shows them."""
        return [one.to_json() for one in self.drifts]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, for a task that waits elsewhere; nothing fails then."""
        return {
            "owner": self.owner.to_json(),
            "lock": self.lock,
            "drifts": [asdict(one) for one in self.drifts],
            "proposed": self.proposed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Checked:
        """Read what :meth:`to_json` wrote."""
        drifts = [Drift(**one) for one in value["drifts"]]
        return cls(Key(*value["owner"]), value["lock"], drifts, proposed=value["proposed"])

    def after(self, earlier: Checked | None, policy: DriftPolicy) -> Checked:
        """Return it with what an earlier look of the same try has applied: this one does not see that any more."""
        applied = policy.of(earlier.drifts, "apply") if earlier and not earlier.failing else []
        return replace(self, drifts=[*(one for one in applied if one not in self.drifts), *self.drifts])

    def refuse(self) -> None:
        """Refuse what is to fail.

        :raises SchemaDriftError: lists the changes and the remedies.
        """
        if self.failing:
            accept = (
                f"put {self.proposed} in the lock's place" if self.proposed else "`elt remote export --schemas all`"
            )
            raise SchemaDriftError(
                f"The schema of {self.owner} is not as {self.lock} has it: {listing(self.failing)}.",
                hint=f"mend the source; or accept it ({accept}); or let on_schema_drift say what may change",
            )


@dataclass(frozen=True)
class Gate:
    """Holds a source against its lock.

    :param folder: an exported folder, or the one where the lock file is.
    :param path: the lock file in it; "": where an export puts the lock of the connection's owner.
    :param propose: whether to write what was found beside the lock, for somebody to put it in its place.
    """

    folder: Folder
    path: str
    policy: DriftPolicy
    propose: bool = False

    def check(self, server: ConfigServer, connection_id: str) -> Flow[Checked]:
        """Look at the source, say what differs, and apply what is to be applied where nothing is to fail.

        :raises ConfigurationError: where there is no lock, or the one that is named is another's.
        """
        found = yield from server.discover(connection_id)
        yield Pause(0.0)  # that took long: who was told to stop meanwhile changes nothing, and starts nothing
        path, lock = yield Call(lambda: self._lock(server, found.owner))
        drifts = self._told(drift(lock, found.schema, found.selected))
        behind = [one for one in _behind(found) if one.stream in lock.streams and one not in drifts]
        drifts += self.policy.of(behind, "apply")
        uri, failing = self._uri(path), self.policy.of(drifts, "fail")
        if drifts:
            log.warning("The schema of %s differs from %s:\n%s", found.owner, uri, drift_table(drifts, self.policy))
        else:
            log.info("The schema of %s is as %s has it.", found.owner, uri)
        now, left = lock, drifts
        if not failing and (applied := self.policy.of(drifts, "apply")):
            found = yield from self._applied(server, connection_id, found, applied)
            now = accepted(lock, found.schema, applied)
            yield Call(lambda: self.folder.write(path, lock_file(found.owner, now)))
            log.info("%s: %s of these changes are accepted: the connection follows them.", uri, len(applied))
            left = [one for one in drifts if one not in applied]
        proposed = (yield Call(lambda: self._proposed(path, now, found, left))) if self.propose else ""
        return Checked(found.owner, uri, drifts, failing, proposed)

    def _applied(
        self, server: ConfigServer, connection_id: str, found: Discovered, applied: Sequence[Drift]
    ) -> Flow[Discovered]:
        """Let the connection follow; what is known of a stream only once it is synced is asked for then."""
        yield from server.accept(connection_id, found, applied)
        added = [one.stream for one in applied if one.kind == "stream_added"]
        if all(found.schema.streams[name].fields for name in added):
            return found
        return (yield from server.discover(connection_id))

    def _proposed(self, path: str, lock: SchemaLock, found: Discovered, left: Sequence[Drift]) -> str:
        """Write the proposal, or take one away that is out of date: another connection's of this source may not be."""
        place = path.removesuffix(LOCK) + PROPOSED
        present = self.folder.read_one(place)
        if not left:
            if present is not None and not self._told(drift(lock, found.schema, _known(found))):
                self.folder.remove(place)
            return ""
        wanted = lock_file(found.owner, found.schema)
        if present != wanted:
            self.folder.write(place, wanted)
        log.info("A proposal for the new lock is %s.", self._uri(place))
        return self._uri(place)

    def _told(self, drifts: Sequence[Drift]) -> list[Drift]:
        return [one for one in drifts if self.policy.reactions[one.kind] != "ignore"]

    # --- the lock ---

    def _lock(self, server: ConfigServer, owner: Key) -> tuple[str, SchemaLock]:
        stems = possible_paths(owner, spec_of(server, owner.kind))
        paths = [self.path] if self.path else [stem + LOCK for stem in stems]
        others: list[str] = []
        for path in paths:
            content = self.folder.read_one(path)
            if content is None:
                continue
            document = loaded(content, self._uri(path))
            if _is_of(document, owner) and "streams" in document:
                return path, read_lock(document, self._uri(path))
            what = "the lock" if "streams" in document else "the configuration"
            others.append(f"{self._uri(path)} is {what} of {_named(document)}")
        said = f" ({'; '.join(others)})" if others else ""
        raise ConfigurationError(
            f"There is no lock of {owner} at {' or '.join(map(self._uri, paths))}{said}.",
            hint="accept the schema as it is now with `elt remote export`, or name the folder of its export",
        )

    def _uri(self, path: str) -> str:
        return f"{self.folder.uri.rstrip('/')}/{path}"


def _behind(found: Discovered) -> list[Drift]:
    """Return what the connection has not followed yet: the lock may say it already, of another or of a person."""
    return [
        Drift("field_added", stream, name, new=found.schema.streams[stream].fields[name])
        for stream, names in sorted(found.behind.items())
        for name in names
    ]


def _known(found: Discovered) -> set[str]:
    """Return the streams of which the server told more than the name; Fivetran does so of those that are synced."""
    return {*found.selected, *(name for name, one in found.schema.streams.items() if one.fields)}


def accepted(lock: SchemaLock, found: SchemaLock, drifts: Sequence[Drift]) -> SchemaLock:
    """Return a lock with these differences accepted, and no others."""
    streams = dict(lock.streams)
    for one in drifts:
        if one.kind == "stream_removed" or one.stream not in found.streams:
            streams.pop(one.stream, None)
        elif one.kind == "stream_added":
            streams[one.stream] = found.streams[one.stream]
        else:
            streams[one.stream] = _with(streams[one.stream], found.streams[one.stream], one)
    return SchemaLock(streams)


def _with(old: LockedStream, new: LockedStream, one: Drift) -> LockedStream:
    if one.kind == "key_changed":
        is_cursor = one.field == "cursor"
        return replace(old, cursor=new.cursor) if is_cursor else replace(old, primary_key=new.primary_key)
    fields = {name: kind for name, kind in old.fields.items() if name != one.field}
    if one.field in new.fields:
        fields[one.field] = new.fields[one.field]
    return replace(old, fields=fields)


def place_of_lock(text: str) -> tuple[str, str]:
    """Return the folder that a parameter ``schema_lock`` means, and the lock file in it, "" for the whole folder.

    >>> place_of_lock("gs://config/airbyte/production/sources/shop.lock.yaml")
    ('gs://config/airbyte/production/sources', 'shop.lock.yaml')
    >>> place_of_lock("gs://config/airbyte")
    ('gs://config/airbyte', '')
    """
    folder, _, name = text.rstrip("/").rpartition("/")
    return (folder, name) if name.endswith((".yaml", ".yml")) and folder else (text, "")


def _is_of(document: Mapping[str, Any], owner: Key) -> bool:
    found = document.get("kind"), document.get("workspace", ""), document.get("name")
    return found == (owner.kind, owner.workspace, owner.name)


def _named(document: Mapping[str, Any]) -> str:
    parts = [document.get(name) for name in ("kind", "workspace", "name")]
    return " / ".join(str(part) for part in parts if part) or "nothing"
