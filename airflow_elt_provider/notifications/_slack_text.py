"""An ending as a message of Slack: blocks that fit into what Slack takes."""

from __future__ import annotations

import re
from typing import Any, Final

from airflow_elt_provider.notifications._ending import Ending

SECTION: Final = 3000
"""Characters of a section, as Slack counts them: escaped."""
_HEAD: Final = 150
_LINK: Final = 1000
_BROKEN_ENTITY: Final = re.compile(r"&[a-z]{0,4}$")


def escaped(text: str, limit: int = SECTION) -> str:
    """Return a text that Slack shows as it is, and no longer than ``limit``: cut at a word, and said to be."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(plain) <= limit:
        return plain
    note = " … (cut; the whole text is in the log)"
    kept = plain[: max(0, limit - len(note))]
    kept = _BROKEN_ENTITY.sub("", kept)
    word = max(kept.rfind(" "), kept.rfind("\n"))
    return (kept[:word] if word > len(kept) // 2 else kept) + note


def message(ending: Ending, note: str = "", mention: str = "") -> dict[str, Any]:
    """Return the body of a message: blocks, and a line for notifications.

    :param note: a text of the DAG's author.
    :param mention: in Slack's own writing, ``<!here>`` or ``<@U012AB3CD>``; the only thing that is not escaped.
    """
    headline = f"{_sign(ending)} *{escaped(ending.what, _HEAD)}* {_verb(ending)}"
    blocks = [_section(" ".join(part for part in (mention, headline) if part))]
    told = [("Table", ending.table), ("Stream", ending.stream), ("Counts", _counts(ending))]
    lines = [f"*{name}:* {escaped(value, _LINK)}" for name, value in told if value]
    if lines:
        blocks.append(_section("\n".join(lines)))
    for name, value in (("Reason", ending.reason), ("Remedy", ending.remedy), ("Note", note)):
        if value:
            blocks.append(_section(f"*{name}:* {escaped(value, SECTION - len(name) - 4)}"))
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _where(ending), "verbatim": True}]})
    short = f"{ending.what} {_verb(ending)}" + (f": {ending.reason}" if ending.reason else "")
    return {"text": escaped(short, _LINK), "blocks": blocks, "unfurl_links": False}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _sign(ending: Ending) -> str:
    if not ending.failed:
        return ":warning:" if ending.counts.get("quarantined") else ":white_check_mark:"
    return ":hourglass_flowing_sand:" if ending.again else ":red_circle:"


def _verb(ending: Ending) -> str:
    if not ending.failed:
        return "succeeded"
    return "failed; it will be tried again" if ending.again else "failed"


def _counts(ending: Ending) -> str:
    return ", ".join(f"{value:,} {name}" for name, value in ending.counts.items())


def _where(ending: Ending) -> str:
    parts = [f"DAG {ending.dag_id}", f"run {ending.run_id}"]
    parts += [f"try {ending.attempt}"] if ending.attempt else []
    text = escaped(" · ".join(parts), _LINK)
    if ending.log_url and len(ending.log_url) <= _LINK:
        address = ending.log_url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")
        text += f" · <{address}|log>"
    return text
