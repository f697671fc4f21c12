"""Files that are something else than their name says."""

from __future__ import annotations

import re
from typing import Final

from airflow_elt_provider.errors import DataError

HEAD_BYTES: Final = 512
_STARTS: Final = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook (.xlsx)", "unpack it, or save it as CSV"),
    (b"PK\x05\x06", "an empty ZIP archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", "save it as CSV"),
    (b"%PDF-", "a PDF document", "ask for the data as CSV"),
    (b"\x1f\x8b", "compressed with gzip", "say compression='gzip', or name it .gz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "say compression='zstd', or name it .zst"),
    (b"BZh", "compressed with bz2", "say compression='bz2', or name it .bz2"),
    (b"\xfd7zXZ\x00", "compressed with xz", "pack it with gzip, zstd or bz2 instead"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"PAR1", "a Parquet file", "say type='parquet', or name it .parquet"),
    (b"PARE", "an encrypted Parquet file", "write it without encryption"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV"),
)
_LETTERS: Final = (b"ORC", b"BZh", b"PAR1", b"PARE")
"""Signatures that a text may begin with, too."""
_BZ2: Final = re.compile(rb"BZh[1-9]1AY&SY")
_PAGE: Final = re.compile(rb"\s*<(?:!doctype\s+html|html[\s>]|head[\s>])", re.IGNORECASE)
_MARKUP: Final = re.compile(rb"\s*<\?xml\s", re.IGNORECASE)
_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_NULS: Final = 8
"""One NUL in so many bytes is no text; in UTF-16 every second one is."""
_CONTROLS: Final = [bytes([code]) for code in (0, *range(2, 7), *range(16, 26))]
"""Without those that separate fields, and those that switch charsets."""
_FEW_CONTROLS: Final = 8
_CONTROLS_SHARE: Final = 0.01
_PAGE_HINT: Final = "it may be the login or error page of whoever was asked for the file"


def refuse_foreign(name: str, head: bytes, *, marked: bool = False) -> None:
    """Refuse what is no text with rows, by its first bytes.

    :param name: of the file.
    :param head: its first bytes, unpacked, as they stand.
    :param marked: whether a charset with NUL bytes in it is expected.
    :raises DataError: says what it is.
    """
    found = next(((what, hint) for what, hint in _found(head)), None)
    if not found and not marked and not head.startswith(_MARKS) and head.count(0) * _NULS > len(head):
        found = "binary, or text in UTF-16", "say charset='utf-16' ('utf-16-le', 'utf-16-be') if that is what it is"
    if found:
        raise DataError(f"{name} is {found[0]}, and no text with rows.", hint=found[1])


def refuse_binary(name: str, data: bytes) -> None:
    """Refuse what has many control characters in it, which no text has. :raises DataError: for that."""
    if sum(map(data.count, _CONTROLS)) > max(_FEW_CONTROLS, len(data) * _CONTROLS_SHARE):
        raise DataError(
            f"{name} is binary, and no text with rows.", hint="see what wrote it: unpack or decrypt it, or export it"
        )


def _found(head: bytes) -> list[tuple[str, str]]:
    found = [(what, hint) for start, what, hint in _STARTS if head.startswith(start) and _binary(start, head)]
    if _PAGE.match(head):
        found.append(("an HTML page", _PAGE_HINT))
    elif _MARKUP.match(head):
        found.append(("an XML document", "ask for the data as CSV, JSON lines or Parquet"))
    return found


def _binary(start: bytes, head: bytes) -> bool:
    """Whether a signature of letters alone is followed by what no text has in it."""
    return start not in _LETTERS or b"\0" in head or bool(_BZ2.match(head))
