"""Where a SQL warehouse is and how to work on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

Credentials = Literal["catalog", "stage"]


@dataclass(frozen=True, kw_only=True)
class DatabricksSettings:
    """A SQL warehouse (or cluster) and how to use it.

    :param token: asked for anew before each request, so that one that ends can be renewed.
    :param catalog: where names without a catalog lead, and where our own schema ``_elt`` is; "" for the workspace's.
    :param schema: where names without a schema lead; "" for the workspace's.
    :param options: further arguments of ``databricks.sql.connect``.
    :param credential: name of the storage credential with which COPY INTO reads; "" leaves it to external locations.
    :param credentials: ``stage`` lends COPY INTO the stage's own (temporary) keys instead.
    :param volume: folder of a Unity Catalog volume that files are uploaded to when the warehouse cannot read the stage.
    :param claim_seconds: how long a load that merges keeps others of its stream waiting; after that it counts as dead.
    :param takeover_pause: seconds for which a dead load's last statement may still be about to begin.
    :param tags: what a comment at the head of each statement says.
    """

    host: str
    http_path: str
    token: Secret
    catalog: str = ""
    schema: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    credential: str = ""
    credentials: Credentials = "catalog"
    volume: str = ""
    claim_seconds: float = 900.0
    takeover_pause: float = 5.0
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.http_path:
            raise ConfigurationError(
                f"The Databricks connection to {self.host!r} names no SQL warehouse.",
                hint="set http_path (or sql_endpoint_name) in its extra, e.g. /sql/1.0/warehouses/0123456789abcdef",
            )
        if self.credentials not in get_args(Credentials):
            raise ConfigurationError(
                f"elt_credentials={self.credentials!r} of the Databricks connection is unknown.",
                hint="use 'catalog' (storage credentials of Unity Catalog) or 'stage' (the stage's own keys)",
            )
        if self.volume and not self.volume.startswith("/Volumes/"):
            raise ConfigurationError(
                f"elt_volume={self.volume!r} of the Databricks connection is no path of a volume.",
                hint="give /Volumes/<catalog>/<schema>/<volume>, with a folder in it if you like",
            )

    def __str__(self) -> str:
        return f"{self.host}{self.http_path}"

    @classmethod
    def own(cls, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Read those extras of a connection that are ours: ``elt_...``.

        :raises ConfigurationError: for one that is unknown, or not a number where one is needed.
        """
        given = {name.removeprefix(_PREFIX): value for name, value in extra.items() if name.startswith(_PREFIX)}
        unknown = sorted(set(given) - set(_CONVERTERS))
        if unknown:
            raise ConfigurationError(
                f"The Databricks connection has an extra {_PREFIX}{unknown[0]!s}.",
                hint=f"take it out; known are {', '.join(_PREFIX + name for name in _CONVERTERS)}",
            )
        return {name: _converted(name, value) for name, value in given.items()}


def of_connection(parts: ConnectionParts) -> DatabricksSettings:
    """Read a connection without Airflow: its password is a personal access token; other logins need Airflow's hook.

    :raises ConfigurationError: when there is no token.
    """
    if parts.password is None or parts.login:
        raise ConfigurationError(
            f"Connection {parts.conn_id!r} has no personal access token as its password (and no login).",
            hint="give one; other ways to log in to Databricks need Airflow",
        )
    extra = {name: value for name, value in parts.extra.items() if value is not None and value != ""}
    options = {name: value for name, value in extra.items() if not name.startswith(_PREFIX) and name not in _NAMES}
    return DatabricksSettings(
        host=parts.host or "", http_path=str(extra.get("http_path", "")), token=parts.password,
        catalog=str(extra.get("catalog", "")), schema=str(extra.get("schema", "")), options=options,
        **DatabricksSettings.own(extra),
    )  # fmt: skip


_NAMES: Final = frozenset({"http_path", "catalog", "schema"})
_PREFIX: Final = "elt_"
_CONVERTERS: Final[Mapping[str, Callable[[Any], str | float]]] = {
    "credential": str,
    "credentials": str,
    "volume": lambda value: str(value).rstrip("/"),
    "claim_seconds": float,
    "takeover_pause": float,
}


def _converted(name: str, value: object) -> Any:
    try:
        return _CONVERTERS[name](value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{_PREFIX}{name}={value!r} of the Databricks connection is not a number.", hint="give a number"
        ) from None
