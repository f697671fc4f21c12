"""What a guess says, to people and to programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.text_table import text_table
from airflow_elt_provider.formats.guess_column import ColumnGuess

_KEY_NAMES: Final = re.compile(r"^id$|(?:^|_)(?:id|key|code|no|uuid)$|番号|コード|ＩＤ|ID$", re.IGNORECASE)  # noqa: RUF001
_KEY_TYPES: Final = ("bigint", "uuid", "text")
_FEWEST_ROWS: Final = 3
_LINE: Final = 200


@dataclass(frozen=True)
class Certain:
    """One thing that was guessed.

    :param confidence: 0 to 1.
    :param why: in words.
    """

    value: Any
    confidence: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"value": self.value, "confidence": self.confidence, "why": self.why}


@dataclass(frozen=True)
class Guess:
    """How the rows stand in a file, as far as a sample shows.

    :param name: of the file that was looked at.
    :param form: what to say as ``file_format``.
    :param facts: compression, charset, newline, delimiter and so on, with how sure they are.
    :param left_out: columns that hold nothing, as the one behind a delimiter at the end of each line.
    :param rows: how many rows of the sample were looked at.
    """

    name: str
    form: FileFormat
    columns: Sequence[ColumnGuess]
    facts: Mapping[str, Certain]
    warnings: Sequence[str] = ()
    left_out: Sequence[str] = ()
    rows: int = 0
    wrapped: bool = field(default=False, repr=False)
    """whether values have line breaks in them"""

    @property
    def column_types(self) -> dict[str, str]:
        """What to say as ``column_types``: the columns that are not text."""
        return {one.name: one.type for one in self.columns if not one.is_text and one.name not in self.left_out}

    @property
    def key(self) -> str:
        """The column that may be the primary key; "" for none."""
        if self.rows < _FEWEST_ROWS:
            return ""
        able = [one for one in self.columns if one.unique and one.type in _KEY_TYPES and not one.nulls]
        named = [one.name for one in able if _KEY_NAMES.search(one.name)]
        first = [one.name for one in able if one is self.columns[0] or one.type != "text"]
        return next(iter([*named, *first]), "")

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {
            "file": self.name, "file_format": self.form.to_json(), "column_types": self.column_types,
            "exclude_columns": list(self.left_out), "primary_key": self.key or None, "rows_sampled": self.rows,
            "format": {name: fact.to_json() for name, fact in self.facts.items()},
            "columns": [_column(one) for one in self.columns], "warnings": list(self.warnings),
        }  # fmt: skip

    def __str__(self) -> str:
        """Return tables of it."""
        facts = text_table(
            ["", "guess", "sure", "why"],
            [[name, _spoken(fact.value), f"{fact.confidence:.2f}", fact.why] for name, fact in self.facts.items()],
            most=_LINE,
        )
        columns = text_table(
            ["column", "type", "sure", "NULL", "why"],
            [[one.name, one.type, f"{one.confidence:.2f}", f"{one.nulls:.0%}", one.why] for one in self.columns],
            most=_LINE,
        )
        lines = [f"{self.name}: {self.rows:,} rows of it were looked at", "", facts, "", columns]
        return "\n".join([*lines, *(f"warning: {one}" for one in self.warnings)])


@dataclass(frozen=True)
class Call:
    """The task that loads the files.

    :param path: of all files.
    """

    guess: Guess
    path: str
    source_conn_id: str
    destination_conn_id: str = "warehouse"
    target_table: str = ""

    def parameters(self) -> dict[str, Any]:
        """Return what the operator takes."""
        name = _task_name(self.path)
        given: dict[str, Any] = {
            "task_id": name, "source_conn_id": self.source_conn_id, "path": _literal(self.path),
            "file_format": self.guess.form.to_json(), "column_types": self.guess.column_types,
            "exclude_columns": list(self.guess.left_out),
            "destination_conn_id": self.destination_conn_id, "target_table": self.target_table or f"raw.{name}",
            "mode": "replace",
        }  # fmt: skip
        return {name: value for name, value in given.items() if value not in ({}, [])}

    def python(self) -> str:
        """Return the call, to be pasted into a DAG file."""
        lines = [
            "SyncTableOperator(",
            *(f"    {name}={_python(value, 4)}," for name, value in self.parameters().items()),
        ]
        return "\n".join([*lines, *(f"    # {line}" for line in self._key('primary_key=[{}], mode="merge",')), ")"])

    def yaml(self) -> str:
        """Return the same as YAML."""
        lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" if not isinstance(value, dict) else
                 "\n".join([f"{name}:", *(f"  {json.dumps(key, ensure_ascii=False)}: "
                                          f"{json.dumps(item, ensure_ascii=False)}" for key, item in value.items())])
                 for name, value in self.parameters().items()]  # fmt: skip
        return "\n".join([*lines, *(f"# {line}" for line in self._key("primary_key: [{}]; mode: merge"))])

    def _key(self, form: str) -> Iterator[str]:
        if self.guess.key:
            yield form.format(json.dumps(self.guess.key, ensure_ascii=False)) + (
                f"  (instead of replace: it is unique in the {self.guess.rows:,} rows of the sample)"
            )


def _column(one: ColumnGuess) -> dict[str, Any]:
    form = {"time_format": one.time_format} if one.time_format else {}
    return {
        "name": one.name, "type": one.type, "confidence": one.confidence, "why": one.why, **form, "nulls": one.nulls,
        "unique": one.unique,
    }  # fmt: skip


def _literal(path: str) -> str:
    """Return a path that means itself in a template."""
    return re.sub(r"\{[{%#]", lambda found: f"{{{{ '{found[0]}' }}}}", path)


def _task_name(path: str) -> str:
    """Return a name for the task: the file's, or that of the last folder without a wildcard."""
    for part in reversed(path.split("/")):
        name = re.sub(r"\.(?:csv|tsv|txt|jsonl|ndjson|json|parquet|gz|zst|bz2)\b", "", part, flags=re.IGNORECASE)
        name = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")
        if name and not re.search(r"[*?\[]", part):
            return name if name[0].isalpha() else f"t_{name}"
    return "files"


def _spoken(value: Any) -> str:
    if value in ("", [], ()):
        return "none"
    return value if isinstance(value, str) and value.isprintable() and value.strip() else repr(value)


def _python(value: Any, indent: int) -> str:
    if isinstance(value, dict):
        inside = [f"{json.dumps(key, ensure_ascii=False)}: {_python(item, indent + 4)}" for key, item in value.items()]
        line = "{" + ", ".join(inside) + "}"
        if len(line) <= 100:  # noqa: PLR2004 - a line of code
            return line
        blank = " " * (indent + 4)
        return "{\n" + "".join(f"{blank}{one},\n" for one in inside) + " " * indent + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_python(item, indent) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
