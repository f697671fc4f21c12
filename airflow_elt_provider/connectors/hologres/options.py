"""``table_options``: how Hologres is to store a table. They are set once, when the table is created.

>>> table_options={"orientation": "column", "distribution_key": ["id"], "clustering_key": ["updated_at:desc"],
...                "bitmap_columns": {"status": "on", "note": "off"}, "time_to_live_in_seconds": 2592000}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider.connectors.hologres import types
from airflow_elt_provider.connectors.postgres.names import meant
from airflow_elt_provider.errors import ConfigurationError

_ORDERS: Final = ("asc", "desc")
_SWITCHES: Final = ("on", "off")
_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "distribution_key": (), "clustering_key": _ORDERS, "event_time_column": _ORDERS, "segment_key": _ORDERS,
    "bitmap_columns": _SWITCHES, "dictionary_encoding_columns": (*_SWITCHES, "auto"),
}  # fmt: skip
"""Property -> what may stand behind a column's name."""
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "orientation": ("column", "row", "row,column"), "storage_mode": ("hot", "cold"),
    "binlog.level": ("none", "replica"),
}  # fmt: skip
_NUMBERS: Final = ("time_to_live_in_seconds", "binlog.ttl")
KNOWN: Final = frozenset({*_LISTS, *_WORDS, *_NUMBERS, "table_group"})
_SORTED: Final = ("clustering_key", "event_time_column", "segment_key")
_BARE: Final = re.compile(r"[a-z_][a-z0-9_]*")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Layout:
    """A table that is about to be created.

    :param columns: names and types.
    :param key: its primary key.
    :param options: what the user gave.
    """

    where: str
    columns: Sequence[tuple[str, str]]
    key: Sequence[str]
    options: Mapping[str, Any]

    def properties(self) -> tuple[tuple[str, str], ...]:
        """Return property and value for each option, as ``set_table_property`` takes them.

        :raises ConfigurationError: for an option, a column or a value that Hologres would not take.
        """
        for name in self.options:
            if name not in KNOWN:
                raise self._wrong(name, "Hologres has no such property", f"use one of {', '.join(sorted(KNOWN))}")
        self._refuse_contradictions()
        return tuple((name, self._value(name, value)) for name, value in self.options.items())

    def not_null(self) -> frozenset[str]:
        """Return columns outside of the key that Hologres wants to be NOT NULL for the sake of a property."""
        named = (column for option in _SORTED for column, _ in self._columns(option, self.options.get(option, ())))
        return frozenset(named) - set(self.key)

    def _value(self, name: str, value: Any) -> str:
        if name in _LISTS:
            return ",".join(_spelled(*item) for item in self._columns(name, value))
        if name in _NUMBERS:
            return self._number(name, value)
        if name == "table_group":
            if not _NAME.fullmatch(str(value)):
                raise self._wrong(name, "that is no name of a table group", "give its name as the instance knows it")
            return str(value)
        word = ",".join(value) if isinstance(value, list | tuple) else str(value)
        return self._one_of(name, word.replace(" ", ""), _WORDS[name])

    def _number(self, name: str, value: Any) -> str:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = -1
        if number < 0 or isinstance(value, bool):
            raise self._wrong(name, "that is no number of seconds", "give a whole number, e.g. 2592000 for 30 days")
        return str(number)

    def _one_of(self, name: str, word: str, allowed: Sequence[str]) -> str:
        if word not in allowed:
            raise self._wrong(name, f"{word!r} is not known", f"use one of {', '.join(map(repr, allowed))}")
        return word

    # --- lists of columns ---

    def _columns(self, option: str, value: Any) -> list[tuple[str, str]]:
        """Return the columns of a list, each with what stands behind its name."""
        if isinstance(value, Mapping):
            items = [(str(name), str(word)) for name, word in value.items()]
        elif not isinstance(value, str | list | tuple):
            raise self._wrong(option, "that is no list of columns", "give a list, e.g. ['id']")
        else:
            words = value.split(",") if isinstance(value, str) else list(value)
            items = [self._split(str(word).strip(), _LISTS[option]) for word in words]
        for name, word in items:
            self._refuse_column(option, name)
            if word:
                self._one_of(option, word, _LISTS[option])
        return items

    def _split(self, item: str, words: Sequence[str]) -> tuple[str, str]:
        name, colon, word = item.rpartition(":")
        if colon and item not in dict(self.columns) and (word in words or name in dict(self.columns)):
            return name, word
        return item, ""

    def _refuse_column(self, option: str, name: str) -> None:
        kinds = dict(self.columns)
        if name not in kinds:
            raise self._wrong(option, f"there is no column {name!r}", meant(name, kinds))
        if re.search(r'[",:]', name):
            raise self._wrong(option, f"the name {name!r} cannot be told to Hologres in a list", "rename={...} it")
        tests: dict[str, Callable[[str], bool]] = {**dict.fromkeys(_SORTED, types.sorts),
                                                   "distribution_key": types.distributes}  # fmt: skip
        if option in tests and not tests[option](kinds[name]):
            raise self._wrong(option, f"column {name!r} is of type {kinds[name]}, which Hologres does not take there",
                              "choose another column")  # fmt: skip

    def _refuse_contradictions(self) -> None:
        spread = [name for name, _ in self._columns("distribution_key", self.options.get("distribution_key", ()))]
        outside = [name for name in spread if self.key and name not in self.key]
        if outside:
            raise self._wrong(
                "distribution_key", f"column {outside[0]!r} is not part of the primary key ({', '.join(self.key)})",
                "use columns of the key only",
            )  # fmt: skip
        by_row = str(self.options.get("orientation", "column")).replace(" ", "")
        if by_row != "column" and not self.key:
            raise self._wrong("orientation", "Hologres keeps rows together by their primary key, and there is none",
                              "use 'column', or mode='merge' or 'replace' with a primary_key")  # fmt: skip

    def _wrong(self, option: str, what: str, hint: str) -> ConfigurationError:
        value = f"={self.options[option]!r}" if option in self.options else ""
        return ConfigurationError(f"table_options of {self.where}: {option}{value}: {what}.", hint=hint)


def _spelled(name: str, word: str) -> str:
    """Return a column as a property's value has it: quoted where the name would not be taken as it is."""
    own = name if _BARE.fullmatch(name) else f'"{name}"'
    return f"{own}:{word}" if word else own
