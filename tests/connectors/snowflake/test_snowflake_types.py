"""How types fit, and how the catalog's spelling is read."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from airflow_elt_provider.connectors.snowflake.catalog import Described, columns_of
from airflow_elt_provider.connectors.snowflake.dialect import SnowflakeDialect
from airflow_elt_provider.connectors.snowflake.refusals import copied, refuse_masked, refuse_names, refuse_options
from airflow_elt_provider.connectors.snowflake.types import fit, grows_in_place, spelled
from airflow_elt_provider.core.drift import DriftAction, DriftClass, SchemaChange
from airflow_elt_provider.core.evolve import Evolution, TargetTable
from airflow_elt_provider.errors import ConfigurationError
from tests.connectors.staged_loads import Loads


@pytest.mark.parametrize(
    ("current", "arriving", "expected"),
    [
        ("NUMBER(19,0)", "NUMBER(5,0)", "fits"), ("NUMBER(5,0)", "NUMBER(19,0)", "widens"),
        ("NUMBER(12,2)", "NUMBER(20,4)", "widens"), ("NUMBER(12,2)", "NUMBER(12,4)", "conflicts"),
        ("NUMBER(38,0)", "NUMBER(19,0)", "fits"), ("NUMBER(38,2)", "NUMBER(38,10)", "conflicts"),
        ("FLOAT", "NUMBER(10,0)", "fits"), ("NUMBER(10,0)", "FLOAT", "widens"), ("FLOAT", "NUMBER(19,0)", "conflicts"),
        ("FLOAT", "NUMBER(5,2)", "conflicts"), ("VARCHAR", "VARIANT", "fits"), ("VARIANT", "VARCHAR", "conflicts"),
        ("VARCHAR(36)", "VARCHAR", "widens"), ("VARCHAR(99)", "VARCHAR(36)", "fits"),
        ("VARCHAR(99)", "NUMBER(5,0)", "conflicts"), ("DATE", "TIMESTAMP_NTZ(9)", "conflicts"),
        ("TIMESTAMP_NTZ(6)", "TIMESTAMP_NTZ(9)", "fits"), ("TIMESTAMP_NTZ(3)", "TIMESTAMP_NTZ(9)", "widens"),
        ("TIMESTAMP_LTZ(9)", "TIMESTAMP_TZ(9)", "fits"), ("TIMESTAMP_NTZ(9)", "TIMESTAMP_TZ(9)", "conflicts"),
        ("BINARY", "BINARY", "same"), ("BOOLEAN", "NUMBER(5,0)", "conflicts"),
    ],
)  # fmt: skip
def test_types_fit_when_every_value_does(current, arriving, expected):
    assert fit(current, arriving).value == expected


def test_what_alter_column_can_do():
    assert grows_in_place("NUMBER(5,0)", "NUMBER(19,0)")
    assert grows_in_place("VARCHAR(36)", "VARCHAR")
    assert not grows_in_place("NUMBER(12,2)", "NUMBER(20,4)")
    assert not grows_in_place("NUMBER(12,2)", "VARCHAR")
    assert not grows_in_place("TIMESTAMP_NTZ(3)", "TIMESTAMP_NTZ(9)")


def test_lengths_that_say_nothing():
    found = [spelled(each) for each in ("VARCHAR(16777216)", "VARCHAR(134217728)", "VARCHAR(5)", "BINARY(8388608)")]
    assert found == ["VARCHAR", "VARCHAR", "VARCHAR(5)", "BINARY"]


@pytest.mark.parametrize(
    ("drift", "before", "after", "refused"),
    [
        (DriftClass.WIDENED, "NUMBER(12,2)", "NUMBER(20,4)", True),
        (DriftClass.NARROWED, "NUMBER(12,2)", "BOOLEAN", True),
        (DriftClass.WIDENED, "NUMBER(12,2)", "NUMBER(20,2)", False),
        (DriftClass.REMOVED, "NUMBER(12,2)", "", False),
    ],
)
def test_a_masked_column_is_not_copied_into_one_that_is_not(tmp_path, drift, before, after, refused):
    load = Loads(tmp_path, "raw.item").make((1, "a", None))
    found = Described(TargetTable({"amount": before}), masked=frozenset({"amount"}))
    evolution = Evolution((), (SchemaChange(drift, "amount", before, after, DriftAction.EVOLVE),))
    assert copied(evolution) == (["amount"] if refused else [])
    with pytest.raises(ConfigurationError, match="masking policy") if refused else nullcontext():
        refuse_masked(load, evolution, found)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"transient": "false"}, "transient='false' is not yes or no"),
        ({"cluster_by": 5}, "cluster_by=5 does not name columns"),
        ({"cluster_by": [["id"]]}, "does not name columns"),
        ({"data_retention_days": "1; DROP"}, "is no number of days"),
        ({"cluster_by": "id", "transient": True, "data_retention_days": "1"}, ""),
        ({"cluster_by": None, "transient": None, "data_retention_days": None}, ""),
    ],
)
def test_options_that_make_no_sql_are_refused(tmp_path, option, says):
    load = Loads(tmp_path, "raw.item", settings={"table_options": option}).make((1, "a", None))
    with pytest.raises(ConfigurationError, match=says) if says else nullcontext():
        refuse_options(load)


def test_names_in_a_clustering_key():
    assert columns_of("") == frozenset()
    assert columns_of("LINEAR(ID)") == {"LINEAR", "ID"}
    assert columns_of('LINEAR("it""s", to_date("Seen"))') == {"LINEAR", 'it"s', "TO_DATE", "Seen"}


@pytest.mark.parametrize(
    ("names", "exact", "refused"),
    [(("é", "É"), False, True), (("straße", "strasse"), False, True), (("é", "É"), True, False)],
)
def test_columns_that_copy_could_mix_up_are_refused(tmp_path, names, exact, refused):
    """Snowflake may fold more letters than ASCII's when it matches columns."""
    load = Loads(tmp_path, "raw.item").make((1, 2), columns=[f"{name} bigint" for name in names], key=names[:1])
    with pytest.raises(ConfigurationError, match="have one name") if refused else nullcontext():
        refuse_names(SnowflakeDialect("RAW", exact=exact), load)
