"""What holds for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files without a `lowest` test unread in the run of those: what they import is not installed there."""
    wanted = config.getoption("-m").split()
    if "lowest" in wanted and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return "mark.lowest" not in collection_path.read_text() or None
    return None
