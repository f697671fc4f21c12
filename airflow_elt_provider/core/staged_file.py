"""The files that a load consists of: written for it on the stage, or a customer's own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What the rows of a file mean."""

    UPSERT = "upsert"
    """rows as they are now"""
    DELETE = "delete"
    """keys that are gone"""
    KEYSET = "keyset"
    """buckets that changed, and the keys that are in them now, but for those among the upserts"""
    QUARANTINE = "quarantine"
    """rows that were set aside; never staged"""
    EXTERNAL = "external"
    """rows as they are now, in a customer's own file: read where it lies, and never deleted"""


@dataclass(frozen=True)
class InPlace:
    """What has to be known of a file that is read where it lies.

    :param version: what its store says of its content, see :class:`~airflow_elt_provider.core.protocols.StoredFile`.
    :param columns: as named in the target, in the order of the file; its first row names them.
    :param delimiter: between them.
    :param compression: ``none`` or ``gzip``.
    """

    version: str
    columns: tuple[str, ...]
    delimiter: str = ","
    compression: str = "none"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> InPlace:
        """Read what ``asdict`` made."""
        return cls(**{**value, "columns": tuple(value["columns"])})


@dataclass(frozen=True)
class StagedFile:
    """One file of a load.

    :param sha256: of the file's bytes, in hex; "" for external ones.
    :param rows: of external ones 0 until they were counted.
    :param extra: which of :data:`~airflow_elt_provider.core.schema.EXTRA_COLUMNS` the file has.
    """

    uri: str
    sha256: str
    rows: int
    bytes: int
    role: Role = Role.UPSERT
    extra: tuple[str, ...] = ()
    in_place: InPlace | None = None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StagedFile:
        """Read what ``asdict`` made."""
        in_place = value.get("in_place")
        return cls(**{
            **value, "role": Role(value["role"]), "extra": tuple(value["extra"]),
            "in_place": InPlace.from_json(in_place) if in_place else None,
        })  # fmt: skip
