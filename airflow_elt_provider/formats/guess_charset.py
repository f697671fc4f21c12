"""Which charset bytes are in: by what they cannot be, and by how often what they would be is written."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_elt_provider.formats.guess_sample import Piece, Sample

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_ISO_2022_JP: Final = (b"\x1b$B", b"\x1b$@", b"\x1b(J", b"\x1b(I")
_BREAK: Final = re.compile(rb"[\r\n]")
_ZEROS: Final = 0.01
_FEW: Final = 0.02
"""Share of bytes beyond ASCII that may be broken in a file that is UTF-8 all the same."""
_GOOD: Final = 0.35
_COMMON: Final = range(0x88, 0x98)
"""Lead bytes in Shift JIS of the kanji that are taught first (JIS level 1)."""
_EDGE: Final = 4
_LATIN_SIGNS: Final = "£§©®°±²³µ«»¿¡–—‘’“”„…•€ªº´·¼½¾"  # noqa: RUF001 - it is these signs that are meant


@dataclass(frozen=True)
class Charset:
    """A charset.

    :param name: as Python has it.
    :param confidence: 0 to 1.
    :param why: in words.
    :param marked: whether a byte order mark says so.
    """

    name: str
    confidence: float
    why: str
    marked: bool = False


def guess_charset(sample: Sample) -> Charset:
    """Guess the charset of a sample."""
    for mark, name in _MARKS:
        if sample.head.startswith(mark):
            return Charset(name, 1.0, "it begins with a byte order mark", marked=True)
    data = b"".join(piece.data for piece in sample.pieces)
    return _wide(sample.head) or _seven_bits(data) or _utf_8(sample, data) or _of_many(sample)


def decoded(sample: Sample, charset: Charset) -> list[str]:
    """Return the pieces as text, without half characters at their edges; what is broken becomes U+FFFD."""
    name = charset.name
    if name in {"utf-16", "utf-32"}:
        big = sample.head.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
        name += "-be" if big else "-le"
    texts = [_decoded(piece, name, "replace") for piece in sample.pieces]
    return [text.removeprefix("\ufeff") if at == 0 else text for at, text in enumerate(texts)]


def _decoded(piece: Piece, charset: str, errors: str) -> str:
    """Decode a piece from its first whole line on."""
    data, wide = piece.data, charset.startswith(("utf-16", "utf-32"))
    if piece.start and not wide:
        # A line break is no second byte of a character in any of these charsets.
        found = _BREAK.search(data)
        data = data[found.end() :] if found else data
    text = codecs.getincrementaldecoder(charset)(errors).decode(data, final=piece.last)
    return text[text.find("\n") + 1 :] if piece.start and wide else text


def _wide(head: bytes) -> Charset | None:
    """Tell UTF-16 without a mark by the zeros of its ASCII characters; nothing else has zeros."""
    odd, even = head[1::2].count(0), head[::2].count(0)
    if not head or odd + even < _ZEROS * len(head):
        return None
    name, which = ("utf-16-le", "second") if odd > even else ("utf-16-be", "first")
    return Charset(name, 0.9, f"every {which} byte of two is 0 where it is ASCII")


def _seven_bits(data: bytes) -> Charset | None:
    if not data.isascii():
        return None
    if any(escape in data for escape in _ISO_2022_JP):
        return Charset("iso2022_jp", 0.95, "it switches to Japanese by escape sequences")
    return Charset("utf-8", 0.9, "the sample is ASCII, which is UTF-8 as well")


def _utf_8(sample: Sample, data: bytes) -> Charset | None:
    beyond = sum(len(piece) for piece in data.split() if not piece.isascii()) or 1
    broken = sum(_decoded(piece, "utf-8", "replace").count("\ufffd") for piece in sample.pieces)
    kept = data.count("\ufffd".encode())
    broken = max(0, broken - kept)
    if not broken:
        return Charset("utf-8", 0.99, "all of the sample is valid UTF-8, characters of several bytes included")
    if broken / beyond < _FEW:
        return Charset("utf-8", 0.7, f"it is UTF-8 but for {broken} places in the sample, which are broken")
    return None


def _of_many(sample: Sample) -> Charset:
    """Choose among charsets in which many byte sequences mean something."""
    found = sorted(
        ((_score(sample.pieces, name, rate), name) for name, rate in _CANDIDATES.items()), reverse=True
    )  # fmt: skip
    (best, name), (second, other) = found[0], found[1]
    if best < _GOOD:
        return Charset("cp1252", 0.3, "it is no UTF-8, and reads like no charset that is known here; say charset=...")
    if name != "cp1252" and not _has_kana(sample, name):
        return Charset(name, 0.5, f"it is no UTF-8, and reads as {name}, but for the kana that Japanese has: it may be "
                       "Chinese (gb18030, big5) or Korean (euc_kr)")  # fmt: skip
    lead = best - max(second, 0.0)
    return Charset(name, round(min(0.97, 0.5 + best / 4 + lead / 4), 2),
                   f"it is no UTF-8, and as {name} the characters beyond ASCII are such as are often written "
                   f"(next would be {other})")  # fmt: skip


def _has_kana(sample: Sample, charset: str) -> bool:
    return any("ぁ" <= sign <= "ヿ" or "｡" <= sign <= "ﾟ" for piece in sample.pieces
               for sign in _decoded(piece, charset, "replace"))  # fmt: skip


def _score(pieces: Sequence[Piece], charset: str, rate: Callable[[str], Iterator[tuple[float, int]]]) -> float:
    """Return how likely the text is, from -1 to 1: a mean over its bytes beyond ASCII."""
    total, weight = 0.0, 0
    for piece in pieces:
        try:
            text = _decoded(piece, charset, "strict")
        except UnicodeDecodeError:
            return -1.0
        for value, length in rate(text):
            total += value * length
            weight += length
    return total / weight if weight else 0.0


def _japanese(text: str) -> Iterator[tuple[float, int]]:
    last_narrow = False
    for at, sign in enumerate(text):
        if sign.isascii():
            last_narrow = False
            continue
        narrow = "｡" <= sign <= "ﾟ"
        if narrow:
            yield (0.5 if last_narrow else 0.2), 1
        elif "ぁ" <= sign <= "ヿ":
            yield 1.0, 2
        elif "一" <= sign <= "鿿":
            alone = _is_letter(text, at - 1) and _is_letter(text, at + 1)
            yield (-0.7 if alone else _kanji(sign)), 2
        else:
            yield (0.6 if unicodedata.east_asian_width(sign) in "FWA" and sign < "\ue000" else -1.0), 2
        last_narrow = narrow


def _kanji(sign: str) -> float:
    try:
        return 0.9 if sign.encode("cp932")[0] in _COMMON else -0.1
    except UnicodeEncodeError:
        return -0.5


def _is_letter(text: str, at: int) -> bool:
    return 0 <= at < len(text) and text[at].isascii() and text[at].isalpha()


def _western(text: str) -> Iterator[tuple[float, int]]:
    for at, sign in enumerate(text):
        if sign.isascii():
            continue
        if sign.isalpha() and sign not in "ªºµ":
            neighbours = [text[place] for place in (at - 1, at + 1) if 0 <= place < len(text)]
            crowd = sum(not each.isascii() for each in neighbours)
            usual = sign.islower() or not any(each.islower() for each in neighbours[:1])
            yield (0.9 if usual and crowd == 0 else 0.3 if usual and crowd == 1 else -0.5), 1
        else:
            yield (0.4 if sign in _LATIN_SIGNS else -0.6), 1


_CANDIDATES: Final[dict[str, Callable[[str], Iterator[tuple[float, int]]]]] = {
    "cp932": _japanese, "euc_jp": _japanese, "cp1252": _western,
}  # fmt: skip
