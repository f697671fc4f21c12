"""Fivetran's private links: made and changed, which takes a while (https://fivetran.com/docs/rest-api/tutorials)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.api import FivetranApi, secrets_of
from airflow_elt_provider.remotes.config_as_code.fivetran.hidden import full, hidden, in_the_open
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, KindSpec
from airflow_elt_provider.remotes.config_as_code.secret_values import marked, unmarked
from airflow_elt_provider.remotes.flow import Flow, JsonObject, Pause, segment
from airflow_elt_provider.remotes.patience import patiently

log = logging.getLogger(__name__)

PRIVATE_LINK: Final = KindSpec(
    "private_link", "private-links", ("region", "service", "config"),
    needed=frozenset({"region", "service", "config"}), fixed=frozenset({"region", "service"}),
    partial=frozenset({"config"}), open_secrets=in_the_open,
)  # fmt: skip
PATH: Final = "/v1/private-links"
_BUSY: Final = frozenset({"CREATING", "UPDATING"})
_BAD: Final = frozenset({"FAIL", "DESTROYING"})
_FIRST_WAITS: Final = (0.0, 5.0, 5.0, 10.0, 10.0)
_WAIT: Final = 30.0
_LONGEST: Final = 1800.0
"""Seconds: a link takes ten minutes, more where somebody has to accept it in the cloud account."""
_OUTAGE: Final = 300.0


def link_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds of ``GET /v1/private-links/{id}``."""
    return {"region": row["region"], "service": row["service"], "config": marked(hidden(full(row.get("config") or {})))}


def link_objections(wanted: ConfigObject) -> Iterator[str]:
    """Yield why a link cannot be as its file says, each with its remedy."""
    if not isinstance(wanted.values.get("config", {}), Mapping):
        yield f"{wanted.key}: config is no mapping. Remedy: write what its service needs"


def create_link(api: FivetranApi, wanted: ConfigObject) -> Flow[JsonObject]:
    """Begin to make a link; return it as it is."""
    values = wanted.values
    body = {
        "name": wanted.key.name, "region": values["region"], "service": values["service"],
        "config": unmarked(values["config"], {}),
    }  # fmt: skip
    return (yield from api.post(PATH, body, what=str(wanted.key), secrets=secrets_of(values["config"])))


def change_link(api: FivetranApi, id_: str, wanted: ConfigObject) -> Flow[JsonObject]:
    """Begin to change a link's ``config``; what the file leaves out is sent as it is."""
    path, config = f"{PATH}/{segment(id_)}", wanted.values["config"]
    present = ((yield from api.get(path)) or {}).get("config") or {}
    body = {"config": {**present, **unmarked(config, present)}}
    return (yield from api.patch(path, body, what=str(wanted.key), secrets=secrets_of(config)))


def until_ok(api: FivetranApi, key: Key, row: JsonObject) -> Flow[None]:
    """Wait until a link can be used.

    :param row: the link as it was a moment ago.
    :raises ConfigurationError: where it failed, or does not come about in half an hour.
    """
    waited, path = 0.0, f"{PATH}/{segment(str(row['id']))}"
    for seconds in chain(_FIRST_WAITS, repeat(_WAIT)):
        state, summary = str(row.get("state")), str(row.get("state_summary") or "")[:300]
        if state == "OK":
            return
        if state in _BAD:
            raise ConfigurationError(
                f"Fivetran: {key} is {state}. {summary}",
                hint="mend the service in your cloud account; or delete the link in Fivetran, and plan again",
            )
        if waited >= _LONGEST:
            raise ConfigurationError(
                f"Fivetran: {key} is {state} after {waited / 60:.0f} minutes. {summary}",
                hint="accept the endpoint in your cloud account, then do the same again: it goes on from here",
            )
        log.info("Fivetran: %s is %s. %s", key, state if state in _BUSY else f"{state}, an unknown state", summary)
        yield Pause(seconds)
        waited += seconds
        found = yield from patiently(lambda: api.get(path), _OUTAGE, "Fivetran")
        row = found or {"state": "FAIL", "state_summary": "It is gone."}
