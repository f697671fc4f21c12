"""What holds for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files and folders without a `lowest` test unread in the run of those: what they import is not there."""
    if "lowest" not in config.getoption("-m").split():
        return None
    tests = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    found = [path for path in tests if path.name.startswith("test_") and path.suffix == ".py"]
    return (bool(found) and not any("mark.lowest" in path.read_text() for path in found)) or None
