"""The columns of a file as they are read: from what stands in it to values of a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pyarrow as pa

from airflow_elt_provider.core.types import JSON
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.formats.charset import Marks, is_text, shown
from airflow_elt_provider.formats.text_values import typed
from airflow_elt_provider.formats.times import by_format, implied_type, refuse_unfit

_SHOWN: Final = 100


@dataclass(frozen=True)
class Field:
    """A column that is read.

    :param type: that is wanted of it.
    :param read: gives the values of what stands in the file; raises ``pa.ArrowInvalid`` where one cannot be had.
    :param show: gives a value's text for a person.
    :param legible: whether a value can be looked at as text; None where all can.
    :param illegible: what is wrong with one that cannot be looked at.
    """

    name: str
    type: pa.DataType
    read: Callable[[pa.Array[Any]], pa.Array[Any]]
    show: Callable[[Any], str | None]
    legible: Callable[[Any], bool] | None = None
    illegible: str = ""

    def good(self, raw: pa.Array[Any]) -> bool:
        """Whether every value can be read."""
        try:
            self.read(raw)
        except pa.ArrowInvalid:
            return False
        return True


def text_fields(
    columns: Sequence[tuple[str, pa.DataType]],
    time_formats: Mapping[str, str],
    charset: str,
    marks: Marks | None = None,
) -> list[Field]:
    """Return the fields of columns whose values are bytes, UTF-8 where all is well.

    :param marks: where bytes that are no text are marked.
    :raises ConfigurationError: for a time format that its column's type cannot take.
    """
    fields = []
    for name, kind in columns:
        pattern = "" if pa.types.is_string(kind) else time_formats.get(name, "")
        if pattern:
            refuse_unfit(name, pattern, kind)
        read: Callable[[pa.Array[Any]], pa.Array[Any]] = partial(read_text, kind=kind, pattern=pattern)
        if marks:
            read = partial(_unmarked, read=read, marks=marks)
        fields.append(Field(name, kind, read, _show, is_text, f"is not {charset}"))
    return fields


def _show(value: Any) -> str | None:
    return shown(value.as_py())


def _unmarked(raw: pa.Array[Any], read: Callable[[pa.Array[Any]], pa.Array[Any]], marks: Marks) -> pa.Array[Any]:
    if marks.seen and not all(map(is_text, raw.to_pylist())):
        raise pa.ArrowInvalid("not text")
    return read(raw)


def read_text(raw: pa.Array[Any], kind: pa.DataType, pattern: str = "") -> pa.Array[Any]:
    """Return the values that bytes stand for.

    :raises pa.ArrowInvalid: when some stand for none.
    """
    texts = raw.cast(pa.string())
    return typed(texts, kind, partial(by_format, kind=kind, pattern=pattern) if pattern else None)


def implied_types(time_formats: Mapping[str, str]) -> dict[str, pa.DataType]:
    """Return the types that time formats give their columns."""
    return {name: implied_type(pattern) for name, pattern in time_formats.items()}


def refuse_unknown_times(time_formats: Mapping[str, str], header: Sequence[str], name: str) -> None:
    """Refuse time formats of columns that a file does not have.

    :raises ConfigurationError: names one.
    """
    for column in time_formats:
        if column not in header:
            raise ConfigurationError(
                f"time_formats names column {column!r}, and {name} has none.",
                hint=f"its columns are {', '.join(map(repr, header[:20]))}",
            )


def spoken(kind: pa.DataType) -> str:
    """Return how a person calls a type."""
    return "json" if kind.equals(JSON) else {"extension<arrow.uuid>": "uuid"}.get(str(kind), str(kind))


def cut(value: object) -> str:
    """Return a value's text, not more of it than an error should hold."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
