"""A Fivetran connection as a file holds it, and as the API is told it (https://fivetran.com/docs/rest-api)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.hidden import full, hidden, in_the_open
from airflow_elt_provider.remotes.config_as_code.fivetran.schemas import modes_differ
from airflow_elt_provider.remotes.config_as_code.model import Key, KindSpec, Values, unique_names
from airflow_elt_provider.remotes.config_as_code.secret_values import HINT, is_mark, marked, references

log = logging.getLogger(__name__)

NameOf: TypeAlias = Callable[[str, str], str | None]
"""Gives the name of an object by its kind and id; None where there is none to be seen."""
IdOf: TypeAlias = Callable[[str, str], str]
"""Gives the id of an object by its kind and name; raises ConfigurationError where there is none."""
CONNECTION: Final = KindSpec(
    "connection", "connections",
    ("service", "naming", "paused", "schedule", "networking", "data_delay", "destination", "config", "schema"),
    needed=frozenset({"service"}), fixed=frozenset({"service", "naming"}),
    late=frozenset({"paused", "schedule", "networking", "data_delay", "destination", "schema"}),
    partial=frozenset({"config"}), placed=True,
    references={"networking.private_link": "private_link", "networking.agent": "agent"},
    elsewhere=frozenset({"networking.agent"}), open_secrets=in_the_open, rereads=modes_differ,
)  # fmt: skip
_SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "schedule": {"type": "schedule_type", "frequency": "sync_frequency", "daily_at": "daily_sync_time"},
    "networking": {
        "method": "networking_method", "private_link": "private_link_id", "agent": "hybrid_deployment_agent_id",
    },
    "data_delay": {"sensitivity": "data_delay_sensitivity", "threshold": "data_delay_threshold"},
}  # fmt: skip
"""The API's name of each value, by its section and name in a file."""
_ALWAYS: Final[Mapping[str, Sequence[str]]] = {"schedule": ("type", "frequency"), "data_delay": ("sensitivity",)}
"""What no connection is without: a section that leaves it out could never be as its file says."""
_BEYOND: Final = {"proxy_agent_id": "proxy agent", "external_secrets_manager_id": "external secrets manager"}
_REFERENCES: Final = {"private_link": "private_link", "agent": "agent"}
_DAY: Final = 1440
"""Minutes: only where a connection syncs once a day it has an hour for that."""
_METHODS: Final = frozenset({"Directly", "PrivateLink", "SshTunnel", "ProxyAgent"})
"""Those that can be set; the API shows others too."""
NAMING: Final = ("schema", "schema_prefix", "table", "table_group_name")
"""The keys of ``config`` that say the name of a connection, once and for all: the file's ``name`` does."""
_OWN: Final = frozenset({
    "public_key", "sftp_public_key", "abs_public_key", "encoded_public_key", "external_id", "s3external_id",
    "s3_export_external_id", "webhook_url", "webhook_endpoint", "connecting_user", "connecting_user_email",
    "service_account_email", "snc_fivetran_name", "project_type",
})  # fmt: skip
"""What ``config`` holds of the server's own: the read-only keys of the API's specification."""
_OF_DATABASES: Final = frozenset({"host", "hosts", "database", "connection_string"})
_SET_PUBLIC_KEY: Final = ("braintree", "oracle_fusion_cloud_apps", "partnerstack_vendor")
"""Services (or how their names begin) of which ``public_key`` is the user's."""


# --- what is read ---


def values_of(detail: Mapping[str, Any], name_of: NameOf) -> dict[str, Any]:
    """Return what a file holds of ``GET /v1/connections/{id}``, secrets marked; without ``schema``."""
    values = {
        "service": detail["service"],
        "naming": detail.get("destination_schema_names"),
        "paused": detail.get("paused"),
        **{section: _section(detail, section, name_of) for section in _SECTIONS},
        "destination": full(detail.get("destination_configuration")),
        "config": _config(str(detail["service"]), detail.get("config") or {}),
    }
    return {name: marked(value, name) for name, value in values.items() if value not in (None, {})}


def beyond(detail: Mapping[str, Any]) -> list[str]:
    """Return what a connection has that no file tells: it is there in the dashboard only."""
    return [words for name, words in _BEYOND.items() if detail.get(name)]


def _section(detail: Mapping[str, Any], section: str, name_of: NameOf) -> dict[str, Any]:
    found: dict[str, Any] = full({name: detail.get(told) for name, told in _SECTIONS[section].items()})
    if found.get("method") not in _METHODS:
        found.pop("method", None)
    if found.get("sensitivity", "CUSTOM") != "CUSTOM":
        found.pop("threshold", None)
    for name, kind in _REFERENCES.items():
        if name in found:
            found[name] = name_of(kind, str(found[name]))
            if found[name] is None:
                log.warning("Connection %s uses a %s that cannot be seen.", detail["id"], kind.replace("_", " "))
    return {name: value for name, value in found.items() if value is not None}


def _config(service: str, config: Mapping[str, Any]) -> dict[str, Any]:
    own = _OWN - {"public_key"} if service.startswith(_SET_PUBLIC_KEY) else _OWN
    return hidden({name: full(one) for name, one in config.items() if one is not None and name not in {*own, *NAMING}})


# --- what is sent ---


def namings(name: str, config: Values) -> list[dict[str, str]]:
    """Return how a new connection of this name may be asked for in ``config``, the likeliest first.

    Databases mostly want a prefix, files a group of tables, some services a table, all others a schema. The API does
    not tell which, and refuses what it does not want.

    >>> namings("rental", {"host": "db.example"})
    [{'schema_prefix': 'rental'}, {'schema': 'rental'}]
    >>> namings("plan.budget", {"sheet_id": "1"})
    [{'schema': 'plan', 'table': 'budget'}, {'schema': 'plan', 'table_group_name': 'budget'}, {'schema': 'plan.budget'}]
    """
    schema, _, rest = name.partition(".")
    if rest:
        pairs = [{"schema": schema, "table": rest}, {"schema": schema, "table_group_name": rest}]
        return [*pairs, {"schema": name}]
    single = [{"schema_prefix": name}, {"schema": name}]
    return single if config.keys() & _OF_DATABASES else single[::-1]


def settings(before: Values, wanted: Values, fields: Collection[str], id_of: IdOf, place: str) -> dict[str, Any]:
    """Return what ``POST`` and ``PATCH /v1/connections`` are told of these fields; ``paused`` and ``schema`` apart.

    :param before: the values that there are; {} for a new connection.
    :param place: names the connection in messages.
    :raises ConfigurationError: for a section that it cannot be, a reference that leads nowhere, and a change that would
        overwrite a secret with its mark.
    """
    body: dict[str, Any] = {}
    for section in (name for name in _SECTIONS if name in fields):
        body.update(_told(section, before.get(section) or {}, wanted[section], id_of, place))
    if "naming" in fields:
        body["destination_schema_names"] = wanted["naming"]
    if "destination" in fields:
        body["destination_configuration"] = wanted["destination"]
    if "config" in fields and (config := _changed_config(before.get("config") or {}, wanted["config"], place)):
        body["config"] = config
    return body


def check(values: Values, place: str) -> None:
    """Look whether sections hold what they can.

    :param values: some of a file's.
    :raises ConfigurationError: names place and value.
    """
    for section in (name for name in _SECTIONS if name in values):
        dict(_told(section, {}, values[section], lambda _, name: name, place))
        if missing := [name for name in _ALWAYS.get(section, ()) if values[section].get(name) is None]:
            raise ConfigurationError(
                f"{place}: {section} has no {missing[0]}, and a connection always has one.",
                hint=f"write it, or leave {section} out: then it stays as it is",
            )
    if not isinstance(values.get("paused", False), bool):
        raise ConfigurationError(f"{place}: paused is {values['paused']!r}.", hint="write true or false")
    if "config" in values:
        _check_config(values["config"], place)
        for name in (name for name, value in values["config"].items() if value is None):
            raise ConfigurationError(
                f"{place}: config.{name} is null.", hint="leave it out: what a file leaves out stays as it is"
            )


def _told(section: str, before: Values, wanted: Any, id_of: IdOf, place: str) -> Iterator[tuple[str, Any]]:
    names = _SECTIONS[section]
    strange = sorted(map(str, wanted.keys() - names.keys())) if isinstance(wanted, Mapping) else [str(wanted)]
    if strange:
        raise ConfigurationError(f"{place}: {section} has {strange[0]!r}.", hint=f"write {', '.join(names)}")
    for name, told in names.items():
        value = wanted.get(name)
        if name == "daily_at" and value is not None and not isinstance(value, str):
            raise ConfigurationError(  # YAML reads 13:00 as 780
                f"{place}: schedule.daily_at is {value!r}.", hint="write the hour (UTC) in quotes: '13:00'"
            )
        if name in _REFERENCES and value is not None:
            yield told, id_of(_REFERENCES[name], str(value))
        elif value is not None or (name in before and _may_be_unset(name, wanted)):
            yield told, value


def _may_be_unset(name: str, wanted: Values) -> bool:
    """Whether null takes a value away; where Fivetran knows no null, or drops the value by itself, none is sent."""
    return name in _REFERENCES or (name == "daily_at" and wanted.get("frequency") == _DAY)


def _changed_config(before: Values, wanted: Any, place: str) -> dict[str, Any]:
    """Return the keys of ``config`` that change, for Fivetran keeps the others.

    Secrets are always among them: nobody can tell whether they change. A mask never is: it might be taken for a value.
    """
    _check_config(wanted, place)
    changed = {
        name: value if is_mark(value) else _whole(before.get(name), value)
        for name, value in wanted.items() if name not in before or _differs(before[name], value)
    }  # fmt: skip
    for path, _ in references({name: value for name, value in changed.items() if not is_mark(value)}):
        raise ConfigurationError(f"{place}: config.{path} is a secret beside values that change.", hint=HINT)
    return {name: value for name, value in changed.items() if not is_mark(value)}


def _check_config(wanted: Any, place: str) -> None:
    if not isinstance(wanted, Mapping):
        raise ConfigurationError(f"{place}: config is {wanted!r}.", hint="write a mapping")
    if named := sorted(wanted.keys() & set(NAMING)):
        raise ConfigurationError(
            f"{place}: config.{named[0]} says the connection's name.", hint="take it out: the file's name says it"
        )


def _differs(before: Any, wanted: Any) -> bool:
    """Whether something is to be written: what is wanted of a part only counts as that part."""
    if isinstance(wanted, Secret):
        return True
    if is_mark(wanted):
        return False
    if isinstance(before, Mapping) and isinstance(wanted, Mapping):
        return any(name not in before or _differs(before[name], value) for name, value in wanted.items())
    if isinstance(before, list) and isinstance(wanted, list) and len(before) == len(wanted):
        return any(_differs(*pair) for pair in zip(before, wanted, strict=True))
    return bool(before != wanted) or isinstance(before, bool) is not isinstance(wanted, bool)


def _whole(before: Any, wanted: Any) -> Any:
    """Return a value with those parts that a file leaves out: Fivetran takes nested ones whole."""
    if isinstance(before, Mapping) and isinstance(wanted, Mapping) and not is_mark(before) and not is_mark(wanted):
        return {**before, **{name: _whole(before.get(name), value) for name, value in wanted.items()}}
    if isinstance(before, list) and isinstance(wanted, list) and len(before) == len(wanted):
        return [_whole(*pair) for pair in zip(before, wanted, strict=True)]
    return wanted


def place_of(key: Key) -> str:
    """Return a connection as messages name it."""
    return f"connection {key.workspace} / {key.name}"


def keys_of(rows: Sequence[Mapping[str, Any]], groups: Mapping[str, str]) -> dict[str, Key]:
    """Return a key for the id of each connection: names are made unique within their group.

    :param rows: of ``GET /v1/connections``.
    :param groups: names by id.
    """
    keys: dict[str, Key] = {}
    for group_id, group in groups.items():
        names = unique_names((str(row["id"]), str(row["schema"])) for row in rows if row["group_id"] == group_id)
        keys.update({id_: Key(CONNECTION.name, group, name) for id_, name in names.items()})
    return keys
