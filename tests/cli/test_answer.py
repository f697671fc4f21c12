"""The lines that a command prints for a person."""

from __future__ import annotations

from airflow_elt_provider.cli.answer import lines_of


def test_each_value_that_says_something_has_a_line() -> None:
    text = lines_of({
        "load_id": "a1", "extracted": 12345, "deleted": 0, "checkpoint": None, "consistent": True, "nulled": {},
        "written": ["a.yaml", "b.yaml"], "removed": [], "seconds": {"extract": 1.23456, "merge": 2.0},
        "schema_changes": [{"change": "added", "column": "x"}, {"change": "added", "column": "y"}],
    })  # fmt: skip
    assert text.splitlines() == [
        "load id         a1", "extracted       12,345", "deleted         0", "consistent      yes",
        "written         a.yaml, b.yaml", "seconds         extract 1.23, merge 2.00",
        "schema changes  change added, column x; change added, column y",
    ]  # fmt: skip
