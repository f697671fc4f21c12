"""Columns whose values are not to leave the source: keyed hashes and fixed texts take their place."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.plan import Extraction
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError

_BLOCK: Final = 64
"""Bytes of a block of SHA-256; see RFC 2104."""
_DIGEST: Final = 32
_KEY_ID: Final = 8
"""Hex digits that tell keys apart in a checkpoint."""
_STRONG_KEY: Final = 16


class KeyedHash:
    """HMAC-SHA-256 under one key, as 64 lower-case hex digits."""

    def __init__(self, key: Secret) -> None:
        secret = key.reveal().encode()
        block = (secret if len(secret) <= _BLOCK else hashlib.sha256(secret).digest()).ljust(_BLOCK, b"\0")
        # Copies of two begun hashes: less than half the time of hmac.digest().
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        self.name = hmac.digest(secret, b"elt", "sha256").hex()[:_KEY_ID]

    def __repr__(self) -> str:
        return f"KeyedHash({self.name})"

    def text(self, value: str) -> str:
        """Return the hash of one text's UTF-8 bytes."""
        return self._digest(value.encode()).hex()

    def texts(self, values: pa.Array[Any]) -> pa.Array[Any]:
        """Return the hashes of texts; NULL stays NULL. A text that comes again is hashed once."""
        coded: Any = pc.dictionary_encode(values)
        distinct = coded.dictionary.cast(pa.binary()).to_pylist()
        digits = b"".join(map(self._digest, distinct)).hex().encode()
        ends = pa.array(range(0, 2 * _DIGEST * (len(distinct) + 1), 2 * _DIGEST), pa.int32())
        hashes = pa.Array.from_buffers(pa.string(), len(distinct), [None, ends.buffers()[1], pa.py_buffer(digits)])
        taken: pa.Array[Any] = hashes.take(coded.indices)
        return taken

    def _digest(self, value: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value)
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True)
class Masks:
    """What takes the place of which column's values.

    :param hashed: source column -> hash.
    :param redacted: source column -> text.
    :param names: source column -> name in the target, of both.
    :param weak: ids of connections whose key is short enough to be guessed from a value and its hash.
    """

    hashed: Mapping[str, KeyedHash] = field(default_factory=dict)
    redacted: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    weak: tuple[str, ...] = ()

    @classmethod
    def of(cls, extraction: Extraction, keys: Mapping[str, Secret]) -> Masks:
        """Return an extraction's masks.

        :param keys: connection id -> the key: that connection's password.
        :raises ConfigurationError: for a connection without a key.
        """
        found: dict[str, KeyedHash] = {}
        for conn_id in dict.fromkeys(extraction.hash_columns.values()):
            key = keys.get(conn_id)
            if not key:
                raise ConfigurationError(
                    f"{extraction.stream}: connection {conn_id!r} has no password, which hash_columns needs as its "
                    "key.", hint="put a long random text into the connection's password",
                )  # fmt: skip
            found[conn_id] = KeyedHash(key)
        hashed = {column: found[conn_id] for column, conn_id in extraction.hash_columns.items()}
        names = {column: extraction.target_name(column) for column in extraction.masked_columns}
        weak = tuple(conn_id for conn_id in found if len(keys[conn_id].reveal()) < _STRONG_KEY)
        return cls(hashed, extraction.redact_columns, names, weak)

    def __bool__(self) -> bool:
        return bool(self.hashed or self.redacted)

    @property
    def identity(self) -> dict[str, str]:
        """What a checkpoint remembers: source column -> how it is masked, and with which key."""
        hashed = {column: f"hashed with key {made.name}" for column, made in self.hashed.items()}
        redacted = {column: f"redacted as {text!r}" for column, text in self.redacted.items()}
        return dict(sorted({**hashed, **redacted}.items()))

    def asked_of_source(self, extraction: Extraction) -> Extraction:
        """Return the extraction with masked columns read as texts, so that one value has one text everywhere."""
        return replace(extraction, column_types={**extraction.column_types, **dict.fromkeys(self.names, "text")})

    def refuse_change(self, since: Position | None, now: Position, renamed: Mapping[str, str]) -> None:
        """Refuse to go on where a column was masked in another way before: the target would be half and half.

        :param renamed: new -> old name, as named in the target.
        :raises ConfigurationError: names the column, and both ways.
        """
        before, mine = since.masks if since else {}, self.identity
        sources = {target: source for source, target in self.names.items()}
        pairs = [(name, name) for name in now.columns if since and name in since.columns]
        pairs += [(sources.get(new, new), old) for new, old in renamed.items()]
        for column, earlier in pairs:
            if before.get(earlier) != mine.get(column):
                raise ConfigurationError(
                    f"{now.source}: so far column {earlier!r} was {before.get(earlier, 'read as it is')}, now "
                    f"{column!r} is {mine.get(column, 'read as it is')}.",
                    hint="run once with full_refresh=True, or give the changed load a stream name of its own",
                )

    def refuse_key(self, schema: TableSchema, extraction: Extraction) -> None:
        """Refuse a key that redaction would make the same for all rows.

        :raises ConfigurationError: names the column.
        """
        redacted = {self.names[column]: column for column in self.redacted}
        for name in schema.primary_key:
            if name in redacted:
                raise ConfigurationError(
                    f"{extraction.source}: column {redacted[name]!r} is part of the key and redacted, which would make "
                    "keys the same.", hint="use hash_columns for it",
                )  # fmt: skip

    # --- values ---

    def text(self, column: str, value: str | None) -> str | None:
        """Return what stands for one value of a source column."""
        if value is None:
            return None
        if column in self.hashed:
            return self.hashed[column].text(value)
        return self.redacted.get(column, value)

    def texts(self, column: str, values: pa.Array[Any]) -> pa.Array[Any]:
        """Return what stands for the values of a masked source column."""
        if column in self.hashed:
            return self.hashed[column].texts(values)
        none = pa.scalar(None, pa.string())
        made: pa.Array[Any] = pc.if_else(pc.is_valid(values), pa.scalar(self.redacted[column]), none)
        return made

    def schema(self, schema: TableSchema) -> TableSchema:
        """Return the schema with masked columns as plain texts."""
        masked = set(self.names.values())
        columns = tuple(
            Column(column.name, pa.string(), column.nullable) if column.name in masked else column
            for column in schema.columns
        )
        return replace(schema, columns=columns)

    def backfill(self, values: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return the values of rows from before a column was added, by name in the target; None stays None."""
        sources = {target: source for source, target in self.names.items()}
        return {
            name: self.text(sources[name], value) if name in sources and value is not None else value
            for name, value in values.items()
        }
