"""Buckets of keys: a table's keys in groups that source and destination tell in the same way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class BucketKind(StrEnum):
    """How the bucket of a key is told."""

    RANGE = "range"
    """a whole number: the bucket is the largest multiple of ``size`` (a power of two) that is not above it"""
    MD5 = "md5"
    """texts, whole numbers and uuids: the first ``size`` hex digits of the MD5 of their texts, joined by ``|``"""
    ALL = "all"
    """one bucket for all keys: of types whose texts differ from system to system"""


@dataclass(frozen=True)
class Buckets:
    """How the buckets of a stream are told.

    A staged row with ``_elt_op`` = ``b`` names a changed bucket: of kind ``range`` by its lowest key, in the key's own
    column; of kind ``md5`` by the digits behind the ``b``. Of kind ``all`` no such row is needed.

    :param columns: key columns, as named in the target, that the bucket is told by; some of the key's suffice.
    :param size: see :class:`BucketKind`; 0 for ``all``.
    """

    kind: BucketKind
    columns: tuple[str, ...]
    size: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return {**asdict(self), "columns": list(self.columns)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Buckets:
        """Read what :meth:`to_json` wrote."""
        return cls(BucketKind(value["kind"]), tuple(value["columns"]), value["size"])
