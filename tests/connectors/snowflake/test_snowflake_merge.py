"""Loads made by hand. Their files wait in a folder and are sent by PUT."""

from __future__ import annotations

from decimal import Decimal

from tests.connectors.merge_stories import MergeStories
from tests.connectors.staged_loads import column, odd


class TestSnowflake(MergeStories):
    test_a_thousand_columns = None  # the emulator takes half a minute for it

    def test_widened_types(self, destination, loads, rows):
        """float and double are one type in Snowflake."""
        loads.columns = ("id integer", "n decimal(5,2)", "f float")
        loads.merge(destination, (1, Decimal("1.25"), 0.5))
        receipt = loads.merge(
            destination, (2**40, Decimal("123456789.1234"), 1e300), columns=("id bigint", "n decimal(20,4)", "f double")
        )
        assert [change["column"] for change in receipt.schema_changes] == ["id", "n"]
        assert rows("id, n, f") == [(1, Decimal("1.2500"), 0.5), (2**40, Decimal("123456789.1234"), 1e300)]
        assert loads.merge(destination, (3, Decimal("1.25"), 0.25)).schema_changes == ()

    def test_odd_names(self, destination, loads, query):
        """Names that need quotes are folded too, letters of ASCII only; their exceptional values are counted."""
        names = ['Käse "1"', "a.b", "100%s", "日本", "it's", "back\\slash", "$.x", "select", "with space"]
        loads.columns, loads.key = [column(f"{name} date") for name in names] + [column("ID bigint")], ("ID",)
        loads.target = 'raw."Ta%s ""b"""'
        row = odd(*[None] * len(names), 1, **dict.fromkeys(names, "infinity"))
        receipt = loads.merge(destination, row)
        assert (receipt.inserted, receipt.nulled) == (1, dict.fromkeys(names, 1))
        assert loads.merge(destination, row).updated == 0
        assert query('SELECT "KäSE ""1""", "A.B", "日本", "WITH SPACE", ID FROM RAW."TA%S ""B"""') == [
            (None, None, None, None, 1)
        ]
