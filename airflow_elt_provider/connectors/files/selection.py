"""Which columns of the files are read, under which names and as which types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import pyarrow as pa

from airflow_elt_provider.connectors.files.column_types import common_types
from airflow_elt_provider.core.checkpoint import Position
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

    def within(self, header: Sequence[str]) -> Selection:
        """Return those of the columns that a file has."""
        pairs = zip(self.columns, self.schema.columns, strict=True)
        have = [(column, named) for column, named in pairs if column[0] in header]
        schema = TableSchema(tuple(named for _, named in have), self.schema.primary_key)
        return Selection(tuple(column for column, _ in have), schema)


@dataclass(frozen=True)
class FileColumns:
    """What a file says of its columns."""

    uri: str
    header: tuple[str, ...]
    types: Mapping[str, pa.DataType] = field(default_factory=dict)


def same_columns(files: Sequence[FileColumns], extraction: Extraction) -> Selection:
    """Choose columns of files that must all have the same ones, in any order.

    :raises SchemaDriftError: names the columns that a file lacks, and those that it has besides.
    :raises ConfigurationError: as :func:`all_columns`.
    """
    first = files[0]
    for file in files[1:]:
        refuse_other_header(file.header, file.uri, first.header, first.uri)
    return _select(first.header, files, extraction, first.header)


def all_columns(files: Sequence[FileColumns], extraction: Extraction, known: Sequence[str]) -> Selection:
    """Choose from the columns that any of the files has; each must have the key.

    :param known: columns that earlier files had: none of these needs to have them.
    :raises SchemaDriftError: for a file without a column of the key, or two files whose types do not go together.
    :raises ConfigurationError: for a name that no header has, no column at all, two columns with one name in the
        target, or a type that is not read from files.
    """
    header = tuple(dict.fromkeys(name for file in files for name in file.header))
    selection = _select(header, files, extraction, (*header, *known))
    for file in files:
        missing = [name for name in extraction.primary_key or () if name not in file.header]
        if missing:
            raise SchemaDriftError(
                f"{file.uri} lacks {', '.join(map(repr, missing))} of primary_key; nothing was read.",
                hint="correct the file, or narrow the path so that it does not match",
            )
    return selection


def _select(
    header: Sequence[str], files: Sequence[FileColumns], extraction: Extraction, known: Sequence[str]
) -> Selection:
    """Choose columns and key as the extraction says; what has no type there has the files', or is text."""
    refuse_unknown(extraction, known, files[0].uri, _meant)
    asked = header if extraction.columns is None else [name for name in extraction.columns if name in header]
    types = common_types([(file.uri, file.types) for file in files], extraction.column_types)
    columns = tuple((name, _type(name, extraction, types)) for name in asked if name not in extraction.exclude_columns)
    if not columns:
        raise ConfigurationError(f"{extraction.source} has no column to read.", hint="name some with columns=[...]")
    refuse_twins([name for name, _ in columns], extraction)
    key = extraction.primary_key or ()
    left_out = [name for name in key if name in header and name not in dict(columns)]
    if left_out:
        raise ConfigurationError(
            f"{extraction.source}: column {left_out[0]!r} of primary_key is not among the columns that are read.",
            hint="take it out of exclude_columns, or add it to columns",
        )
    return Selection(columns, _schema(columns, extraction))


def remembered_columns(position: Position | None, extraction: Extraction) -> Selection:
    """Return the columns of an earlier load, or else the key, where no file says anything."""
    told = zip(position.columns, position.shape, strict=False) if position else ()
    columns = tuple((name, parse_type(kind)) for name, kind in told)
    columns = columns or tuple((name, pa.string()) for name in extraction.primary_key or ())
    return Selection(columns, _schema(columns, extraction))


def _schema(columns: Sequence[tuple[str, pa.DataType]], extraction: Extraction) -> TableSchema:
    return TableSchema(
        tuple(Column(extraction.target_name(name), kind) for name, kind in columns),
        tuple(extraction.target_name(name) for name in extraction.primary_key or ()),
    )


def select_columns(header: Sequence[str], uri: str, extraction: Extraction) -> Selection:
    """Choose columns of a file that does not say what their types are; see :func:`same_columns`."""
    return same_columns([FileColumns(uri, tuple(header))], extraction)


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
            hint="load the files of each header on their own: narrow the path; capture='new_files' loads them together",
        )


def _type(name: str, extraction: Extraction, types: Mapping[str, pa.DataType]) -> pa.DataType:
    given = extraction.column_types.get(name)
    own = types.get(name, pa.string())
    kind = parse_type(given) if given else own
    if pa.types.is_binary(kind) and not pa.types.is_binary(own):
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
