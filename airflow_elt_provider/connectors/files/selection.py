"""Which columns of the files are read, under which names and as which types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa

from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.selection import refuse_twins, refuse_unknown
from airflow_elt_provider.core.types import parse_type
from airflow_elt_provider.errors import ConfigurationError, SchemaDriftError


@dataclass(frozen=True)
class Selection:
    """The columns that are read.

    :param columns: name in the files, and type.
    :param schema: the same as named in the target, and the key.
    """

    columns: tuple[tuple[str, pa.DataType], ...]
    schema: TableSchema

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the files."""
        return tuple(name for name, _ in self.columns)


def select_columns(header: Sequence[str], uri: str, extraction: Extraction) -> Selection:
    """Choose columns and key as the extraction says; what has no type there is text.

    :param uri: the file that the header is of.
    :raises ConfigurationError: for a name that the header does not have, no column at all, two columns with one name in
        the target, or a type that is not read from files.
    """
    refuse_unknown(extraction, header, uri, _meant)
    wanted = header if extraction.columns is None else extraction.columns
    columns = tuple((name, _type(name, extraction)) for name in wanted if name not in extraction.exclude_columns)
    if not columns:
        raise ConfigurationError(f"{extraction.source} has no column to read.", hint="name some with columns=[...]")
    refuse_twins([name for name, _ in columns], extraction)
    key = extraction.primary_key or ()
    left_out = [name for name in key if name not in dict(columns)]
    if left_out:
        raise ConfigurationError(
            f"{extraction.source}: column {left_out[0]!r} of primary_key is not among the columns that are read.",
            hint="take it out of exclude_columns, or add it to columns",
        )
    schema = TableSchema(
        tuple(Column(extraction.target_name(name), kind) for name, kind in columns),
        tuple(extraction.target_name(name) for name in key),
    )
    return Selection(columns, schema)


def refuse_other_header(header: Sequence[str], uri: str, first: Sequence[str], first_uri: str) -> None:
    """Refuse a file whose columns are not those of the first one; their order may differ.

    :raises SchemaDriftError: names the columns that are missing, and those that are new.
    """
    missing = [name for name in first if name not in header]
    new = [name for name in header if name not in first]
    if missing or new:
        told = [f"{what} {', '.join(map(repr, names))}" for what, names in (("lacks", missing), ("has", new)) if names]
        raise SchemaDriftError(
            f"{uri} {' and '.join(told)}, unlike {first_uri}; nothing was read.",
            hint="load the files of each header on their own: narrow the path",
        )


def _type(name: str, extraction: Extraction) -> pa.DataType:
    kind = parse_type(extraction.column_types.get(name, "string"))
    if pa.types.is_binary(kind):
        raise ConfigurationError(
            f"column_types gives column {name!r} of {extraction.source} the type binary, which is not read from files "
            "in this version.", hint="read it as text",
        )  # fmt: skip
    return kind


def _meant(name: str, header: Sequence[str]) -> str:
    by_lower = {known.strip().lower(): known for known in header}
    close = [by_lower[found] for found in get_close_matches(name.strip().lower(), by_lower, n=3)]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}? Names are exact: capitals and spaces count"
    return f"its header row is {', '.join(map(repr, header[:20]))}{' ...' if len(header) > 20 else ''}"  # noqa: PLR2004
