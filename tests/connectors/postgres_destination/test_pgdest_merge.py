from __future__ import annotations

from decimal import Decimal

from tests.connectors.merge_stories import MergeStories
from tests.connectors.staged_loads import column


class TestPostgres(MergeStories):
    def test_zeros_and_scales_differ(self, destination, loads, rows):
        """Values that PostgreSQL itself calls equal are told apart, and are at rest once they are the same."""
        loads.columns = ("id bigint", "f double", "g float", column("n text", format="decimal", source_type="numeric"),
                         column("i text", format="interval", source_type="interval"),
                         column("j json", source_type="jsonb"))  # fmt: skip
        loads.merge(destination, (1, 0.0, 0.0, "1.0", "1 mon", '{"a": 1.0}'))
        changed = (1, -0.0, -0.0, "1.00", "30 days", '{"a": 1.00}')
        assert loads.merge(destination, changed).updated == 1
        assert loads.merge(destination, changed).updated == 0
        assert loads.merge(destination, changed, mode="replace").updated == 0
        assert str(rows("f, g, n, i::text, j::text")) == str([(-0.0, -0.0, Decimal("1.00"), "30 days", '{"a": 1.00}')])
