"""What a Fivetran account holds besides connections: hybrid deployment agents, private links and webhooks.

Sources: https://fivetran.com/docs/rest-api/api-reference, "Hybrid deployment agent management", "Private links",
"Webhooks".
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from airflow_elt_provider.errors import AnswerLostError, ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.api import FivetranApi
from airflow_elt_provider.remotes.config_as_code.fivetran.credentials import CredentialsFolder, credentials_of
from airflow_elt_provider.remotes.config_as_code.fivetran.links import PATH as LINKS
from airflow_elt_provider.remotes.config_as_code.fivetran.links import (
    PRIVATE_LINK,
    change_link,
    create_link,
    link_objections,
    link_values,
    until_ok,
)
from airflow_elt_provider.remotes.config_as_code.fivetran.webhooks import (
    WEBHOOK,
    name_of_url,
    url_of,
    webhook_body,
    webhook_objections,
    webhook_values,
)
from airflow_elt_provider.remotes.config_as_code.model import (
    ConfigObject,
    Key,
    KindSpec,
    named_elsewhere,
    unique_names,
)
from airflow_elt_provider.remotes.flow import Call, Flow, JsonObject, Together, segment

log = logging.getLogger(__name__)

AGENT: Final = KindSpec(
    "agent", "agents", ("env_type",), needed=frozenset({"env_type"}), fixed=frozenset({"env_type"})
)  # fmt: skip
_PATHS: Final[Mapping[str, str]] = {
    "agent": "/v1/hybrid-deployment-agents", "private_link": LINKS, "webhook": "/v1/webhooks",
}  # fmt: skip
_NAMES: Final[Mapping[str, str]] = {"agent": "display_name", "private_link": "name"}
_ENVIRONMENTS: Final = ("DOCKER", "PODMAN", "KUBERNETES", "SNOWPARK")


class AccountObjects:
    """The agents, private links and webhooks of one account. It remembers the ids of what it has read or made.

    :param credentials: keeps what a new agent needs to run; None: nobody does.
    """

    kinds: Final = (AGENT, PRIVATE_LINK, WEBHOOK)

    def __init__(self, api: FivetranApi, credentials: CredentialsFolder | None = None) -> None:
        self._api = api
        self.credentials = credentials
        self._groups: Mapping[str, str] = {}
        self._ids: dict[Key, str] = {}

    # --- what there is ---

    def read(self, groups: Mapping[str, str], wanted: Collection[str] | None = None) -> Flow[list[ConfigObject]]:
        """Return all of the account and of some groups.

        :param groups: names of all groups by id: agents of any may be referred to.
        :param wanted: names of those of which objects are returned; None: of all.
        """
        self._groups, self._ids = dict(groups), {}
        listed: list[list[ConfigObject]] = yield Together([self._listed(spec.name) for spec in self.kinds])
        chosen = None if wanted is None else {*wanted, ""}
        return [one for found in listed for one in found if chosen is None or one.key.workspace in chosen]

    def know_group(self, id_: str, name: str) -> None:
        """Hear of a group that was made since the objects were read."""
        self._groups = {**self._groups, id_: name}

    def reread(self, key: Key) -> Flow[ConfigObject | None]:
        """Return one object as it is now; None: it is gone, or was never there."""
        if key not in self._ids:
            found = yield from self._listed(key.kind)
            return next((one for one in found if one.key == key), None)
        id_ = self._ids[key]
        row = yield from self._api.get(f"{_PATHS[key.kind]}/{segment(id_)}")
        if row is None or not _is_named(key.name, _name(key.kind, row)):
            self._ids.pop(key, None)
            return None
        if key.kind == AGENT.name and self.credentials and (place := self.credentials.lost(key)):
            log.warning("%s is there, and %s holds no credentials of it. %s", key, place, _anew(id_))
        return ConfigObject(key, _values(key.kind, row))

    def name_of(self, kind: str, id_: str, workspace: str = "") -> str | None:
        """Return how an object of a workspace refers to what an id belongs to; None: there is no such thing.

        What is of another group has its group before its name where the name alone would be another's too.
        """
        key = next((key for key, known in self._ids.items() if key.kind == kind and known == id_), None)
        if key is None or self.meant(kind, workspace, key.name) == [key]:
            return key.name if key else None
        return f"{key.workspace} / {key.name}"

    def meant(self, kind: str, workspace: str, name: str, more: Collection[Key] = ()) -> list[Key]:
        """Return what a name may mean in a workspace: its own, the account's, else another group's.

        :param more: what is about to be made.
        """
        known = {*self._ids, *more}
        near = [key for key in (Key(kind, workspace, name), Key(kind, "", name)) if key in known]
        return near[:1] or named_elsewhere(kind, name, known)

    def id_of(self, kind: str, workspace: str, name: str) -> str:
        """Return the id of an object of a workspace, of the account, or of another group.

        :raises ConfigurationError: where a name means nothing, or several things.
        """
        if said := self.unclear(kind, workspace, name):
            raise ConfigurationError(said[0], hint=said[1])
        return self._ids[self.meant(kind, workspace, name)[0]]

    def unclear(self, kind: str, workspace: str, name: str, more: Collection[Key] = ()) -> tuple[str, str] | None:
        """Return why a name means nothing, or several things, and the remedy; None: it means one."""
        meant = self.meant(kind, workspace, name, more)
        if len(meant) > 1:
            names = ", ".join(f"'{key.workspace} / {key.name}'" for key in meant)
            return f"Fivetran has several of {kind} {name}.", f"write one of {names}"
        known = sorted({key.name for key in {*self._ids, *more} if key.kind == kind})[:8]
        hint = f"use one of {', '.join(known) or 'none: make one'}"
        return None if meant else (f"Fivetran has no {Key(kind, workspace, name)}.", hint)

    def _listed(self, kind: str) -> Flow[list[ConfigObject]]:
        """Read all of a kind; who is known already keeps the name by which it is known."""
        rows = yield from self._api.listed(_PATHS[kind])
        places = {str(row["id"]): place for row in rows if (place := self._place(kind, row)) is not None}
        known = {id_: key for key, id_ in self._ids.items() if key.kind == kind}
        named = {id_: key.name for id_, key in known.items()}
        for place in set(places.values()):
            here = [(str(row["id"]), _name(kind, row)) for row in rows if places.get(str(row["id"])) == place]
            named = {**unique_names(here), **named}
        found: list[ConfigObject] = []
        for row in rows:
            id_ = str(row["id"])
            if id_ in places:
                key = known.get(id_) or Key(kind, places[id_], named[id_])
                self._ids[key] = id_
                found.append(ConfigObject(key, _values(kind, row)))
        return found

    def _place(self, kind: str, row: JsonObject) -> str | None:
        """Return the workspace of an object; None: it is of a group that nobody sees."""
        group = "" if kind == "private_link" else str(row.get("group_id") or "")
        return self._groups.get(group) if group else ""

    # --- what is made of it ---

    def objections(self, wanted: Sequence[ConfigObject]) -> list[str]:
        """Return why these cannot be made or changed, each with its remedy: what is known before anything is sent."""
        return [text for one in wanted for text in self._objections(one)]

    def _objections(self, one: ConfigObject) -> Iterator[str]:
        if one.key.kind == "webhook":
            yield from webhook_objections(one, known=one.key in self._ids)
        if one.key.kind == "agent":
            if one.values.get("env_type") not in _ENVIRONMENTS:
                told = f"{one.key}: env_type is {one.values.get('env_type')!r}."
                yield f"{told} Remedy: write one of {', '.join(_ENVIRONMENTS)}"
            if self.credentials and (there := self.credentials.occupied(one.key)):
                yield f"{one.key}: {there} holds credentials already. Remedy: move them away"
        if one.key.kind == "private_link":
            yield from link_objections(one)

    def create(self, wanted: ConfigObject, group_id: str = "") -> Flow[None]:
        """Make an object.

        :param group_id: of its workspace; "": it belongs to the account.
        :raises ConfigurationError: where Fivetran refuses it, or a private link does not come about.
        """
        if group_id:
            self.know_group(group_id, wanted.key.workspace)
        makers = {"agent": self._create_agent, "private_link": self._create_link, "webhook": self._create_webhook}
        yield from makers[wanted.key.kind](wanted, group_id)

    def update(self, before: ConfigObject, wanted: ConfigObject, fields: Collection[str]) -> Flow[None]:
        """Change these fields of an object."""
        key, id_ = wanted.key, self._known(wanted.key)
        path = f"{_PATHS[key.kind]}/{segment(id_)}"
        if key.kind == "webhook":
            yield from self._api.patch(path, webhook_body(wanted, fields), what=str(key))
        elif key.kind == "private_link" and "config" in fields:
            yield from until_ok(self._api, key, (yield from change_link(self._api, id_, wanted)))
        else:
            raise ConfigurationError(f"Fivetran cannot change {key} ({', '.join(sorted(fields))} differ).")
        del before

    def delete(self, key: Key) -> Flow[None]:
        """Delete an object; one that is gone already is as good."""
        if key in self._ids:
            yield from self._api.delete(f"{_PATHS[key.kind]}/{segment(self._ids[key])}", what=str(key))
            del self._ids[key]

    def link_ready(self, name: str) -> Flow[None]:
        """Wait until a private link can be used: one that was there already may have been left half made.

        :raises ConfigurationError: where it failed, or does not come about in half an hour.
        """
        key = Key("private_link", "", name)
        row = yield from self._api.get(f"{LINKS}/{segment(self._known(key))}")
        if row is None:
            raise ConfigurationError(f"Fivetran: {key} is gone.", hint="make a new plan")
        yield from until_ok(self._api, key, row)

    def _known(self, key: Key) -> str:
        if key not in self._ids:
            raise ConfigurationError(f"Fivetran has no {key}.", hint="make a new plan")
        return self._ids[key]

    # --- agents ---

    def _create_agent(self, wanted: ConfigObject, group_id: str) -> Flow[None]:
        """Make an agent, accepting Fivetran's terms for it; keep its credentials, or say how to get others."""
        key, folder = wanted.key, self.credentials
        if folder:
            yield Call(lambda: folder.prepare(key))
        body = {
            "group_id": group_id, "display_name": key.name, "env_type": wanted.values["env_type"],
            "accept_terms": True, "auth_type": "MANUAL" if folder else "AUTO",
        }  # fmt: skip
        try:
            made = yield from self._api.post(_PATHS["agent"], body, what=str(key))
        except AnswerLostError:
            log.warning("The answer that tells the credentials of %s is lost. %s", key, _anew("{id}"))
            raise
        self._ids[key] = str(made["id"])
        if folder:
            files = credentials_of(made)
            log.info("The credentials of %s are in %s.", key, (yield Call(lambda: folder.keep(key, files))))
        else:
            log.warning("The credentials of %s were told once, and not kept. %s", key, _anew(self._ids[key]))

    # --- private links, webhooks ---

    def _create_link(self, wanted: ConfigObject, group_id: str) -> Flow[None]:
        del group_id
        made = yield from create_link(self._api, wanted)
        self._ids[wanted.key] = str(made["id"])
        yield from until_ok(self._api, wanted.key, made)

    def _create_webhook(self, wanted: ConfigObject, group_id: str) -> Flow[None]:
        place = f"group/{segment(group_id)}" if group_id else "account"
        body = {"url": url_of(wanted), **webhook_body(wanted, set(wanted.values) - {"url"})}
        made = yield from self._api.post(f"{_PATHS['webhook']}/{place}", body, what=str(wanted.key))
        self._ids[wanted.key] = str(made["id"])


def _name(kind: str, row: JsonObject) -> str:
    return name_of_url(str(row["url"])) if kind == "webhook" else str(row[_NAMES[kind]])


def _is_named(name: str, own: str) -> bool:
    """Whether a name is an object's own, or made of it."""
    return name == own or name.startswith(f"{own} [")


def _values(kind: str, row: JsonObject) -> dict[str, Any]:
    if kind == "webhook":
        return webhook_values(row)
    if kind == "agent":
        return {"env_type": row["deployment_type"]}
    return link_values(row)


def _anew(agent_id: str) -> str:
    return (
        f"`PATCH {_PATHS['agent']}/{agent_id}/re-auth` gives new ones; "
        "the next agent's can be kept with --agent-credentials FOLDER."
    )
