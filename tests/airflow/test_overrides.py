"""Which tables have parameters of their own, and that no two of them go to one target."""

from __future__ import annotations

import logging

import pytest

from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._overrides import (
    matches,
    own_parameters,
    refuse_shared_targets,
    refuse_unmatched,
)

pytestmark = pytest.mark.lowest

TABLES = [TableRef(("public", name)) for name in ("orders", "order_lines", "a.b", "a[1]")]


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("orders", ["orders"]),
        ("public.orders", ["orders"]),
        ("ord*", ["orders", "order_lines"]),
        ("public.*", ["orders", "order_lines", "a.b", "a[1]"]),
        ("public.ord*", ["orders", "order_lines"]),
        ("p*", []),
        ("other.*", []),
        ("a.b", ["a.b"]),
        ('public."a.b"', ["a.b"]),
        ("a[1]", ["a[1]"]),
    ],
)
def test_what_a_name_or_pattern_fits(pattern, fitting):
    assert [table.name for table in TABLES if matches(table, [pattern])] == fitting


def test_the_whole_name_goes_before_patterns():
    overrides = {"public.orders": {"mode": "append"}, "public.*": {"mode": "replace", "capture": "full"}}
    assert own_parameters(overrides, TABLES[0]) == {"mode": "append", "capture": "full"}
    assert own_parameters(overrides, TABLES[1]) == {"mode": "replace", "capture": "full"}


def test_a_name_of_no_table_is_refused_and_a_pattern_of_none_is_said(caplog):
    with pytest.raises(ConfigurationError) as raised:
        refuse_unmatched(["orders", "oders"], TABLES, "public")
    assert "overrides of 'oders': schema 'public' has no such table" in raised.value.message
    assert "did you mean 'orders'" in str(raised.value)
    with pytest.raises(ConfigurationError, match=r"write one of .*orders.*; or leave the override out"):
        refuse_unmatched(["zzz"], TABLES, "public")
    with caplog.at_level(logging.WARNING):
        refuse_unmatched(["a[1]", "tmp_*"], TABLES, "public")
    assert [record.getMessage() for record in caplog.records] == [
        "overrides of 'tmp_*': no table of schema 'public' fits this pattern."
    ]


def targets(**named):
    return [(TableRef(("public", source)), TableRef.parse(target)) for source, target in named.items()]


def test_targets_that_several_tables_share_are_refused():
    refuse_shared_targets(targets(a="raw.a", b="raw.b", c="other.a"))
    with pytest.raises(ConfigurationError) as raised:
        refuse_shared_targets(targets(a="raw.x", b="raw.y", c="raw.x"))
    assert "public.a, public.c -> raw.x." in raised.value.message
    assert "capitals" not in raised.value.message
    assert "put {table} into target_table" in str(raised.value)
    with pytest.raises(
        ConfigurationError, match=r"public.Actor, public.actor -> raw.Actor, raw.actor. Names .*capital"
    ):
        refuse_shared_targets(targets(Actor="raw.Actor", actor="raw.actor"))
    with pytest.raises(ConfigurationError, match=r"public\.t9 and 20 more -> raw\.all"):
        refuse_shared_targets(targets(**{f"t{number}": "raw.all" for number in range(30)}))
