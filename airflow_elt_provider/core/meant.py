"""Names that somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, known: Iterable[str]) -> str:
    """Return a remedy: the names like this one, or the first that there are.

    >>> meant("Last_Update", ["id", "last_update"])
    "did you mean 'last_update'? Names are exact, capitals included"
    """
    names = list(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    close = [by_lower[found] for found in get_close_matches(name.lower(), by_lower, n=3)]
    if close:
        return f"did you mean {' or '.join(repr(found) for found in close)}? Names are exact, capitals included"
    shown = ", ".join(sorted(names)[:20])
    return f"there are: {shown}{' ...' if len(names) > 20 else ''}" if names else "there are none"  # noqa: PLR2004
