"""Fingerprint capture as text: buckets and hashes of rows as expressions. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from airflow_elt_provider.connectors.postgres.names import quoted
from airflow_elt_provider.connectors.postgres.row_versions import version
from airflow_elt_provider.connectors.postgres.selection import SelectedColumn, Selection
from airflow_elt_provider.connectors.postgres.session import PG_14
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.fingerprints import md5_digits, md5_name, range_size, runs, width_bits

_INTEGERS: Final = frozenset({"int2", "int4", "int8"})
_TEXTS: Final = frozenset({"text", "varchar", "uuid"})
"""Types whose text is the same in every destination, besides whole numbers."""
_LARGEST: Final = 1 << 15
"""The lowest key of a bucket has to fit the key's own type: a larger bucket's would not fit int2."""
_NUMBER: Final = '"_elt_bucket"'


@dataclass(frozen=True)
class KeyText:
    """The key of a relation, and how its buckets are told.

    :param columns: the key's.
    :param utf8: whether the database keeps texts as UTF-8, as destinations do.
    """

    columns: tuple[SelectedColumn, ...]
    told_by: tuple[SelectedColumn, ...]
    kind: BucketKind
    utf8: bool

    @classmethod
    def of(cls, selection: Selection, masked: Sequence[str], encoding: str) -> KeyText:
        """Choose the kind of buckets for a key.

        :param masked: source columns of which the target holds other values.
        :param encoding: of the database.
        """
        named = {column.column.name: column for column in selection.columns}
        columns = tuple(named[name] for name in selection.schema.primary_key)
        plain = [column for column in columns if column.override is None and column.source.name not in masked]
        whole = tuple(column for column in plain if column.source.type.name in _INTEGERS)
        utf8 = encoding == "UTF8"
        if len(columns) == 1 and whole:
            return cls(columns, whole, BucketKind.RANGE, utf8)
        texts = tuple(column for column in plain if column.source.type.name in _INTEGERS | _TEXTS)
        if texts and encoding != "SQL_ASCII":
            return cls(columns, texts, BucketKind.MD5, utf8)
        return cls(columns, (), BucketKind.ALL, utf8)

    def buckets(self, rows: int, bucket_rows: int, before: Buckets | None) -> Buckets:
        """Return the buckets that so many rows should have.

        :param before: those of the last load.
        """
        names = tuple(column.column.name for column in self.told_by)
        match self.kind:
            case BucketKind.RANGE:
                return Buckets(self.kind, names, range_size(bucket_rows, _LARGEST))
            case BucketKind.MD5:
                same = before is not None and (before.kind, before.columns) == (self.kind, names)
                return Buckets(self.kind, names, md5_digits(rows, bucket_rows, before.size if before and same else 0))
        return Buckets(self.kind, ())

    @property
    def names(self) -> tuple[str, ...]:
        """The key's columns, quoted."""
        return tuple(quoted(column.source.name) for column in self.columns)

    # --- expressions over a row ---

    def bucket(self, buckets: Buckets) -> str:
        """Return the expression that rows of one bucket share, and of no other."""
        match buckets.kind:
            case BucketKind.RANGE:
                return f"({self.names[0]}::pg_catalog.int8 >> {width_bits(buckets)})"
            case BucketKind.MD5:
                return f"pg_catalog.substr(pg_catalog.md5({self._text}), 1, {buckets.size})"
        return "0"

    @property
    def _text(self) -> str:
        own = " || '|' || ".join(f"{quoted(column.source.name)}::pg_catalog.text" for column in self.told_by)
        return own if self.utf8 else f"pg_catalog.convert_to({own}, 'UTF8')"

    def version_hash(self, *, many_tables: bool) -> str:
        """Return the hash of key and row version."""
        seed = version(many_tables=many_tables)
        if self.kind is BucketKind.RANGE:
            return f"pg_catalog.hashint8extended({self.names[0]}::pg_catalog.int8, {seed})"
        text = f"{self.names[0]}::pg_catalog.text" if len(self.names) == 1 else _row(self.names)
        return f'pg_catalog.hashtextextended({text} COLLATE "C", {seed})'


def content_hash(selection: Selection) -> str:
    """Return the hash of everything that is read of a row."""
    names = [quoted(column.source.name) for column in selection.columns]
    return f'pg_catalog.hashtextextended({_row(names)} COLLATE "C", 0)'


def _row(names: Sequence[str]) -> str:
    return f"ROW({', '.join(names)})::pg_catalog.text"


def scan(key: KeyText, buckets: Buckets, row_hash: str, rows: str, old: str) -> str:
    """Return the query for number, rows, hash and old rows of each bucket.

    :param rows: FROM and WHERE.
    :param old: the condition for rows that count as old.
    """
    number, group = _NUMBER, f" GROUP BY {_NUMBER}"
    if buckets.kind is BucketKind.MD5:
        number = f"('x' || pg_catalog.lpad({_NUMBER}, 16, '0'))::bit(64)::int8"
    if buckets.kind is BucketKind.ALL:
        number, group = "0", " HAVING count(*) > 0"
    each = f"SELECT {key.bucket(buckets)} AS {_NUMBER}, " if group.startswith(" GROUP") else "SELECT "
    counts = f'count(*) AS "_elt_rows", sum({row_hash}) AS "_elt_hash", count(*) FILTER (WHERE {old}) AS "_elt_old"'
    return f'SELECT {number}, "_elt_rows", "_elt_hash", "_elt_old" FROM ({each}{counts} {rows}{group}) "_elt_b"'


# --- which buckets ---


def array(values: Sequence[object], type_: str) -> str:
    """Return an array of numbers or hex digits."""
    return f"'{{{','.join(map(str, values))}}}'::{type_}[]"


def inside(key: KeyText, buckets: Buckets, changed: Sequence[int], server_version: int) -> str:
    """Return the condition for rows of some buckets, each row looked up by hash."""
    if buckets.kind is BucketKind.ALL:
        return "true"
    if buckets.kind is BucketKind.MD5:
        known = array([md5_name(bucket, buckets.size) for bucket in changed], "text")
    else:
        known = array(changed, "int8")
    # Before version 14, = ANY would compare each row with each element.
    any_ = f"ANY ({known})" if server_version >= PG_14 else f"ANY (SELECT pg_catalog.unnest({known}))"
    return f"{key.bucket(buckets)} = {any_}"


def key_ranges(buckets: Buckets, changed: Sequence[int]) -> list[tuple[int, int]]:
    """Return lowest and highest key of each run of neighbouring buckets of kind ``range``."""
    bits = width_bits(buckets)
    return [(first << bits, (last << bits) + buckets.size - 1) for first, last in runs(changed)]


def by_ranges(key: KeyText, ranges: Sequence[tuple[int, int]], items: str, from_item: str, condition: str) -> str:
    """Return the query for rows in ranges of a key with an index, each range looked up there."""
    low, high = (array([bounds[at] for bounds in ranges], "int8") for at in (0, 1))
    name = key.names[0]
    own = f'{name} >= "_elt_low" AND {name} <= "_elt_high" AND {condition}'
    return (
        f'SELECT "_elt_x".* FROM ROWS FROM (pg_catalog.unnest({low}), pg_catalog.unnest({high})) '
        f'AS "_elt_r"("_elt_low", "_elt_high") '
        f'CROSS JOIN LATERAL (SELECT {items} FROM {from_item} WHERE {own}) AS "_elt_x"'
    )


# --- predicates that mean the same at any time ---

_TOKEN: Final = re.compile(
    r"""\s+|"(?:[^"]|"")*"|'(?:[^']|'')*'|[0-9]+(?:\.[0-9]+)?|[A-Za-z_][A-Za-z0-9_$]*|<>|!=|<=|>=|[=<>(),+*/%]"""
)
_WORDS: Final = frozenset(
    {"and", "or", "not", "in", "is", "null", "true", "false", "between", "like", "ilike", "distinct", "from"}
)
_MOVING: Final = re.compile("now|today|tomorrow|yesterday", re.IGNORECASE)


def timeless(where: str, columns: Sequence[str]) -> bool:
    """Whether a predicate, as far as can be seen, depends on nothing but the row: columns, constants, comparisons."""
    tokens: list[str] = []
    at = 0
    while at < len(where):
        found = _TOKEN.match(where, at)
        if found is None:
            return False
        at = found.end()
        tokens += [found[0]] if found[0].strip() else []
    return all(_plain(token, after, columns) for token, after in pairwise([*tokens, ""]))


def _plain(token: str, after: str, columns: Sequence[str]) -> bool:
    if token[0] == "'":
        return not _MOVING.search(token)
    if token[0] == '"':
        return token[1:-1].replace('""', '"') in columns and after != "("
    if not (token[0].isalpha() or token[0] == "_"):
        return True
    return token.lower() in _WORDS or (token.lower() in columns and after != "(")
