"""Text in any charset becomes UTF-8; what is none stays recognisable as such, in its place."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator
from contextlib import closing
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_LONGEST: Final = 4
_MARKED: Final = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
_SLICE: Final = 256 << 10
_FIRST_MARK: Final = 0x10FF00
_ESCAPED: Final = re.compile("[\udc00-\udcff\U0010ff00-\U0010ffff]")
_MARKED_BYTES: Final = re.compile(rb"\xf4\x8f[\xbc-\xbf]")
_ERRORS: Final = "airflow_elt_provider.lone"
_MARKS_ERRORS: Final = "airflow_elt_provider.marks"


class Marks:
    """Sees whether bytes pass by that were no text; see :func:`utf_8`."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, block: bytes) -> None:
        self.seen = self.seen or b"\xf4" in block or b"\x8f" in block[:1]


def utf_8(blocks: Generator[bytes], charset: str, *, marked: bool = False) -> Generator[bytes]:
    """Give text as UTF-8, without a byte order mark.

    A byte that cannot be read becomes half of a surrogate pair, U+DC00 plus the byte, which no UTF-8 has in it: whoever
    reads the values finds it where it stands. UTF-8 passes unchanged, whatever is in it.

    :param charset: of text without a byte order mark: with one that says it.
    :param marked: give such a byte, also of UTF-8, as U+10FF00 plus the byte instead, a sign that nobody uses: then
        everything is UTF-8, for readers that stumble over what is none.
    """
    with closing(blocks):
        head = b""
        while len(head) < _LONGEST and (block := next(blocks, None)) is not None:
            head += block
        mark, name = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", plain(charset)))
        head = head[len(mark) :]
        if name == "utf-8" and not marked:
            yield head
            yield from blocks
            return
        decoder = codecs.getincrementaldecoder(name)(_MARKS_ERRORS if marked else _ERRORS)
        while head:
            for at in range(0, len(head), _SLICE):
                yield _encoded(decoder.decode(head[at : at + _SLICE]))
            head = next(blocks, b"")
        yield _encoded(decoder.decode(b"", final=True))


def plain(charset: str) -> str:
    """Return Python's name of a charset; with a byte order missing it is the one that most files have."""
    name = codecs.lookup(charset).name
    return {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(name, name)


def spoken_charset(charset: str) -> str:
    """Return how a person calls a charset."""
    return "UTF-8" if plain(charset) == "utf-8" else charset


def is_text(value: bytes | None) -> bool:
    """Whether bytes are UTF-8, and none of them a mark for what was none."""
    if value and _MARKED_BYTES.search(value):
        return False
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def shown(value: bytes | None) -> str | None:
    r"""Return text as a person may see it: bytes that are none as ``\x80``."""
    if value is None:
        return None
    try:
        text = value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "backslashreplace")
    return _ESCAPED.sub(lambda lone: f"\\x{ord(lone[0]) & 0xFF:02x}", text).encode("utf-8", "backslashreplace").decode()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _lone(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


def _marks(error: UnicodeError) -> tuple[str, int]:
    text, end = _lone(error)
    return "".join(chr(_FIRST_MARK + ord(sign) - 0xDC00) for sign in text), end


codecs.register_error(_ERRORS, _lone)
codecs.register_error(_MARKS_ERRORS, _marks)
