from __future__ import annotations

from tests.connectors.merge_stories import MergeStories


class TestDuckdb(MergeStories):
    pass
