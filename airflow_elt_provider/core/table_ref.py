"""Names of tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_elt_provider.errors import ConfigurationError

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


@dataclass(frozen=True)
class TableRef:
    """A table's name, from the outermost part to the table: ``("raw", "actor")``.

    Parts are exact: what is written is what the system is asked for, capitals included. A part that holds a dot or
    a double quote is written in double quotes, a quote in it doubled.

    >>> TableRef.parse('raw."my.table"').parts
    ('raw', 'my.table')
    """

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> TableRef:
        """Read ``schema.table``, ``"Odd.Schema"."table"`` and the like.

        :raises ConfigurationError: when the text is not a dotted name.
        """
        parts: list[str] = []
        at = 0
        while True:
            found = _PART.match(text, at)
            if found is None:
                raise _bad_name(text)
            parts.append(found[1].replace('""', '"') if found[1] is not None else found[2])
            at = found.end()
            if at == len(text):
                return cls(tuple(parts))
            if text[at] != ".":
                raise _bad_name(text)
            at += 1

    @classmethod
    def of(cls, table: str | TableRef) -> TableRef:
        """Return the reference itself, or parse the text."""
        return table if isinstance(table, TableRef) else cls.parse(table)

    @property
    def name(self) -> str:
        """The last part: the table's own name."""
        return self.parts[-1]

    def __str__(self) -> str:
        return ".".join(part if _PART.fullmatch(part) and '"' not in part else _quoted(part) for part in self.parts)


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"'


def _bad_name(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text!r} is not a table name.",
        hint='write table, schema.table or, for names with dots or quotes, "my.schema"."table"',
    )
