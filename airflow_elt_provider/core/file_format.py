"""How the rows stand in a file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Final

from airflow_elt_provider.errors import ConfigurationError

TYPES: Final = ("auto", "csv", "jsonl", "parquet")
COMPRESSIONS: Final = ("auto", "none", "gzip", "zstd", "bz2")
_SUFFIXES: Final = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
_PACKED: Final = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
TAB: Final = "\t"
_KINDS: Final[dict[str, type]] = {
    "type": str, "compression": str, "charset": str, "delimiter": str, "quote": str, "escape": str, "comment": str,
    "header": bool, "quoted_nulls": bool, "trim": bool, "skip_lines": int, "columns": tuple, "null_values": tuple,
    "time_formats": Mapping,
}  # fmt: skip
_YEARS: Final = ("%Y", "%y", "%G", "%c", "%x")
_DATES: Final = re.compile(r"%[mdbBjUuVWaAwz]")


@dataclass(frozen=True)
class FileFormat:
    """How the rows stand in a file, as ``file_format`` of the operators says it.

    :param type: ``csv`` (and everything else with delimiters), ``jsonl``, ``parquet``, or ``auto``: by the name's end.
    :param compression: ``gzip``, ``zstd``, ``bz2``, ``none``, or ``auto``: by the name's end.
    :param charset: any that Python knows; a byte order mark in the file wins.
    :param delimiter: one character between fields; "" for a tab in ``.tsv`` files, else a comma.
    :param quote: the character around fields; "" for none.
    :param escape: the character before one that is to be taken as it is; "" where a quote in quotes is doubled.
    :param header: whether the first row names the columns.
    :param columns: the names of the columns where no row does; of JSON lines the keys that are read.
    :param skip_lines: lines before the header, or the first row, that mean nothing.
    :param null_values: texts that stand for NULL where they are not quoted.
    :param quoted_nulls: whether they stand for NULL even where they are quoted.
    :param trim: whether spaces around fields that are not quoted are dropped.
    :param comment: the character that begins a line that means nothing; "" for none.
    :param time_formats: column -> how its dates or times are written, as ``datetime.strptime`` has it.
    """

    type: str = "auto"
    compression: str = "auto"
    charset: str = "utf-8"
    delimiter: str = ""
    quote: str = '"'
    escape: str = ""
    header: bool = True
    columns: tuple[str, ...] = ()
    skip_lines: int = 0
    null_values: tuple[str, ...] = ("",)
    quoted_nulls: bool = False
    trim: bool = False
    comment: str = ""
    time_formats: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for wrong, what, hint in self._rules():
            if wrong:
                raise ConfigurationError(f"file_format: {what}.", hint=hint)

    def _rules(self) -> list[tuple[bool, str, str]]:
        signs = {name: getattr(self, name) for name in ("delimiter", "quote", "escape", "comment")}
        long = [f"{name}={sign!r}" for name, sign in signs.items() if len(sign) > 1 or sign in {"\r", "\n", "\0"}]
        same = [sign for sign in signs.values() if sign and list(signs.values()).count(sign) > 1]
        doubled = self.escape and self.escape == self.quote
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        clocks = next((text for text in self.time_formats.values() if not _is_clock(text)), "")
        return [
            (self.type not in TYPES, f"type={self.type!r} is unknown", f"use one of {', '.join(TYPES)}"),
            (self.compression not in COMPRESSIONS, f"compression={self.compression!r} is unknown",
             f"use one of {', '.join(COMPRESSIONS)}"),
            (not _is_charset(self.charset), f"charset={self.charset!r} is none that Python knows",
             "e.g. utf-8, cp932 (Shift JIS of Windows), euc_jp, latin-1, utf-16"),
            (bool(long), f"{', '.join(long)} is not one character", "give one, or leave it out"),
            (bool(same) and not doubled, f"{same[:1]} is used twice", "give different characters"),
            (self.skip_lines < 0, f"skip_lines={self.skip_lines} is no number of lines", "give 0 or more"),
            (bool(twice), f"columns={twice} are named twice", "give columns different names"),
            (bool(clocks), f"time_formats={dict(self.time_formats)!r}: {clocks} is no format",
             "as datetime.strptime has it, with a year in dates, %z for zones: %d.%m.%Y %H:%M:%S"),
            (not self.header and not self.columns and self.type in {"auto", "csv"},
             "header is False, and nothing names the columns", "name them: columns=[...]"),
            (self.header and bool(self.columns) and self.type in {"auto", "csv"},
             "both a header and columns name the columns",
             "leave columns out (rename= renames), or say header=False; skip_lines=1 skips a header"),
        ]  # fmt: skip

    @classmethod
    def parse(cls, value: str | Mapping[str, Any] | FileFormat | None) -> FileFormat:
        """Accept ``"csv"``, a dict of the parameters, a value, or None for the default.

        :raises ConfigurationError: for anything else, or what cannot be meant.
        """
        if isinstance(value, FileFormat):
            return value
        if value is None or isinstance(value, str):
            return cls(value or "auto")
        known = {each.name for each in fields(cls)}
        if not set(value) <= known:
            raise ConfigurationError(f"file_format={value!r}.", hint=f"give some of {', '.join(sorted(known))}")
        given = {name: item for name, item in value.items() if item is not None}
        for name in ("columns", "null_values"):
            if name in given:
                given[name] = (given[name],) if isinstance(given[name], str) else tuple(given[name])
        for name, kinds in _KINDS.items():
            if name in given and (
                not isinstance(given[name], kinds) or isinstance(given[name], bool) != (kinds is bool)
            ):
                raise ConfigurationError(
                    f"file_format: {name}={given[name]!r}.", hint=f"give a {kinds.__name__} (see {cls.__name__})"
                )
        return cls(**given)

    def of(self, name: str) -> FileFormat:
        """Return the same with what a file's name decides: type, compression and delimiter.

        :raises ConfigurationError: for a name that does not tell.
        """
        bare, _, packed = name.rpartition(".")
        found = _PACKED.get(f".{packed.lower()}", "none")
        rest = bare if found != "none" else name
        suffix = f".{rest.rpartition('.')[2].lower()}"
        type_ = _SUFFIXES.get(suffix, "") if self.type == "auto" else self.type
        if not type_:
            raise ConfigurationError(
                f"{name}: its name does not say what it is.",
                hint=f"say file_format='csv', 'jsonl' or 'parquet'; known by themselves are {', '.join(_SUFFIXES)}",
            )
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        compression = found if self.compression == "auto" else self.compression
        delimiter = self.delimiter or (TAB if suffix == ".tsv" else ",")
        return FileFormat(**{**values, "type": type_, "compression": compression, "delimiter": delimiter})

    def to_json(self) -> dict[str, Any]:
        """Return the parameters that are not the default, as a user would type them."""
        plain = FileFormat()
        return {name: list(item) if isinstance(item, tuple) else item
                for name, item in asdict(self).items() if item != getattr(plain, name)}  # fmt: skip


def _is_charset(name: str) -> bool:
    if name.lower() in {"idna", "punycode", "undefined"}:  # codecs, but of no file
        return False
    try:
        return bool(codecs.lookup(name)._is_text_encoding)  # noqa: SLF001 - hex and the like are codecs, too
    except LookupError:
        return False


def _is_clock(text: object) -> bool:
    """Whether ``strptime`` knows a format, and it loses nothing: a date has a year, and a zone more than a name."""
    if not isinstance(text, str) or "%" not in text or "%Z" in text.replace("%%", ""):
        return False
    try:
        datetime.strptime("", text)  # noqa: DTZ007 - only asked whether the format is one
    except ValueError as error:
        if "does not match" not in str(error):
            return False
    bare = text.replace("%%", "")
    return any(year in bare for year in _YEARS) or not _DATES.search(bare)
