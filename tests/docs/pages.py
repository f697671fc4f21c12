"""The documentation as the tests read it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ELT = str(Path(sys.executable).with_name("elt"))
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
PAGES = [page for page in PAGES if "_build" not in page.parts]
_FENCE = re.compile(r"^(`{3,}|:{3,})(.*?)\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    return [
        Block(name(page), text.count("\n", 0, found.start()) + 1, found[3])
        for page in PAGES
        for text in [page.read_text()]
        for found in _FENCE.finditer(text)
        if found[2].strip() == language
    ]


@cache
def prose(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def sections(page: Path) -> dict[str, str]:
    """Heading -> text up to the next heading of any level."""
    text = prose(page)
    found = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in found[1:]), len(text)]
    return {heading[2]: text[heading.end() : end] for heading, end in zip(found, ends, strict=True)}


def anchors(page: Path) -> set[str]:
    """Targets of links into the page, as GitHub and MyST make them of headings."""
    headings = (heading[2] for heading in _HEADING.finditer(prose(page)))
    plain = (re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def first_cells(section: str) -> set[str]:
    """What stands in backticks in the first column of a section's tables."""
    rows = (line.strip("| ").split("|")[0] for line in section.splitlines() if line.startswith("|"))
    return {word for cell in rows for word in re.findall(r"`([^`]+)`", cell)}
