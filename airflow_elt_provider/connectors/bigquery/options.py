"""``table_options``: how a target is partitioned, clustered and described when it is created."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_elt_provider.connectors.bigquery.names import literal, quoted
from airflow_elt_provider.connectors.bigquery.types import type_name
from airflow_elt_provider.errors import ConfigurationError

NAMES: Final = frozenset({
    "partition_by", "cluster_by", "require_partition_filter", "partition_expiration_days", "labels", "description",
    "kms_key_name",
})  # fmt: skip
_MAX_CLUSTERED: Final = 4
_CLUSTERED: Final = frozenset({"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "INT64", "NUMERIC", "STRING", "TIMESTAMP"})
_COLUMN: Final = r"(?:`(?P<quoted>[^`]+)`|(?P<bare>[^\s`(),]+))"
_UNITS: Final = {"TIMESTAMP": "HOUR|DAY|MONTH|YEAR", "DATETIME": "HOUR|DAY|MONTH|YEAR", "DATE": "DAY|MONTH|YEAR"}
_INGESTED: Final = "_PARTITIONDATE"
_HINT: Final = (
    "use a DATE column, DATE(column), TIMESTAMP_TRUNC(column, HOUR|DAY|MONTH|YEAR), DATETIME_TRUNC(...), "
    "DATE_TRUNC(column, MONTH|YEAR), RANGE_BUCKET(column, GENERATE_ARRAY(start, end, step)) or _PARTITIONDATE"
)


@dataclass(frozen=True)
class _Rule:
    """A form that PARTITION BY may have.

    :param types: types that its column may have.
    :param write: makes the SQL from the quoted column and the match.
    """

    pattern: re.Pattern[str]
    types: frozenset[str]
    write: Callable[[str, re.Match[str]], str]


def _rule(pattern: str, types: Sequence[str], write: Callable[[str, re.Match[str]], str]) -> _Rule:
    return _Rule(re.compile(rf"\s*{pattern}\s*", re.IGNORECASE), frozenset(types), write)


_RULES: Final = (
    _rule(_COLUMN, ["DATE"], lambda column, _: column),
    _rule(rf"DATE\(\s*{_COLUMN}\s*\)", ["TIMESTAMP", "DATETIME"], lambda column, _: f"DATE({column})"),
    *(
        _rule(
            rf"{kind}_TRUNC\(\s*{_COLUMN}\s*,\s*(?P<unit>{units})\s*\)", [kind],
            lambda column, found, kind=kind: f"{kind}_TRUNC({column}, {found['unit'].upper()})",  # type: ignore[misc]
        )
        for kind, units in _UNITS.items()
    ),
    _rule(
        rf"RANGE_BUCKET\(\s*{_COLUMN}\s*,\s*GENERATE_ARRAY\(\s*(?P<a>-?\d+)\s*,\s*(?P<b>-?\d+)\s*,\s*(?P<c>\d+)\s*\)\s*\)",
        ["INT64"],
        lambda column, found: f"RANGE_BUCKET({column}, GENERATE_ARRAY({found['a']}, {found['b']}, {found['c']}))",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class TableOptions:
    """What is written behind the columns of CREATE TABLE.

    :param partition_by: GoogleSQL.
    :param cluster_by: names of columns.
    :param options: name -> GoogleSQL.
    """

    partition_by: str = ""
    cluster_by: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The clauses, each after a space."""
        text = f" PARTITION BY {self.partition_by}" if self.partition_by else ""
        if self.cluster_by:
            text += f" CLUSTER BY {', '.join(map(quoted, self.cluster_by))}"
        if self.options:
            text += f" OPTIONS ({', '.join(f'{name} = {value}' for name, value in self.options.items())})"
        return text

    @classmethod
    def parse(cls, given: Mapping[str, Any], types: Mapping[str, str], target: str) -> TableOptions:
        """Check what a user gave against the columns that the table will have.

        :param types: column -> type.
        :raises ConfigurationError: names the option, its value and what would do.
        """
        reader = _Reader(given, {name.casefold(): (name, type_) for name, type_ in types.items()}, target)
        return cls(reader.partition_by(), reader.cluster_by(), reader.options())


@dataclass(frozen=True)
class _Reader:
    given: Mapping[str, Any]
    columns: Mapping[str, tuple[str, str]]
    target: str

    def partition_by(self) -> str:
        value = self.given.get("partition_by")
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._error("partition_by", _HINT)
        if value.strip().upper() == _INGESTED:
            return _INGESTED
        for rule in _RULES:
            found = rule.pattern.fullmatch(value)
            if found:
                name, type_ = self._column("partition_by", found["quoted"] or found["bare"])
                if type_name(type_) not in rule.types:
                    raise self._error("partition_by", f"column {name!r} is {type_}, and this form needs "
                                      f"{' or '.join(sorted(rule.types))}; {_HINT}")  # fmt: skip
                return rule.write(quoted(name), found)
        raise self._error("partition_by", _HINT)

    def cluster_by(self) -> tuple[str, ...]:
        value = self.given.get("cluster_by") or []
        names = [value] if isinstance(value, str) else list(value)
        if len(names) > _MAX_CLUSTERED:
            raise self._error("cluster_by", f"BigQuery takes at most {_MAX_CLUSTERED} columns")
        found = [self._column("cluster_by", name) for name in names]
        for name, type_ in found:
            if type_name(type_) not in _CLUSTERED:
                raise self._error("cluster_by", f"column {name!r} is {type_}, which BigQuery does not cluster by")
        return tuple(name for name, _ in found)

    def options(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in ("require_partition_filter", "partition_expiration_days"):
            if self.given.get(name) and "partition_by" not in self.given:
                raise self._error(name, "it goes with partition_by")
        for name, write in _WRITERS.items():
            if self.given.get(name) is not None:
                try:
                    found[name] = write(self.given[name])
                except (TypeError, ValueError, AttributeError):
                    raise self._error(name, _EXPECTED[name]) from None
        return found

    def _column(self, option: str, name: Any) -> tuple[str, str]:
        column = self.columns.get(str(name).casefold())
        if column is None:
            raise self._error(option, f"there is no column {name!r}; there are: {', '.join(n for n, _ in self.columns.values())}")  # fmt: skip  # noqa: E501
        return column

    def _error(self, option: str, hint: str) -> ConfigurationError:
        return ConfigurationError(f"table_options of {self.target}: {option}={self.given[option]!r}.", hint=hint)


def _flag(value: Any) -> str:
    if not isinstance(value, bool):
        raise TypeError(value)
    return str(value).upper()


def _days(value: Any) -> str:
    if isinstance(value, bool) or float(value) <= 0:
        raise ValueError(value)
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return literal(value)


def _labels(value: Mapping[str, Any]) -> str:
    return "[" + ", ".join(f"({_text(name)}, {_text(item)})" for name, item in value.items()) + "]"


_WRITERS: Final[Mapping[str, Callable[[Any], str]]] = {
    "require_partition_filter": _flag,
    "partition_expiration_days": _days,
    "labels": _labels,
    "description": _text,
    "kms_key_name": _text,
}
_EXPECTED: Final = {
    "require_partition_filter": "give True or False",
    "partition_expiration_days": "give a number of days above 0",
    "labels": "give a mapping from texts to texts",
    "description": "give a text",
    "kms_key_name": "give the key's name: projects/.../locations/.../keyRings/.../cryptoKeys/...",
}
