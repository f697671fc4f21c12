from __future__ import annotations

import pytest

from airflow_elt_provider.connectors.postgres.destination_types import Declared, column_type, fit
from airflow_elt_provider.core.dialect import Fit
from airflow_elt_provider.core.schema import Column
from airflow_elt_provider.core.types import parse_type


@pytest.mark.parametrize(
    ("text", "base", "mods", "array"),
    [
        ("numeric(50,3)", "numeric", (50, 3), False),
        ("double precision", "double precision", (), False),
        ("timestamp(3) without time zone", "timestamp without time zone", (3,), False),
        ("character varying(20)[]", "character varying", (20,), True),
        ("interval day to second(3)", "interval day to second", (3,), False),
        ('"char"', '"char"', (), False),
    ],
)
def test_a_declaration_is_read_with_its_modifiers(text, base, mods, array):
    assert Declared.parse(text) == Declared(base, mods, array)


@pytest.mark.parametrize("declared", ["bit(3)", "character(5)", "character varying(20)", "numeric(50,3)"])
def test_a_built_in_type_keeps_its_length(declared):
    column = Column("c", parse_type("text"), format="text", source_type=declared)
    assert column_type(column, 150_000) == declared


def test_a_longer_text_is_a_wider_type():
    assert fit("character varying(11)", "character varying(35)") is Fit.WIDENS
    assert fit("character varying(35)", "character varying(11)") is Fit.FITS
