"""What needs no server: settings, names, types, SQL text, hash rules."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from airflow_elt_provider.connectors.mysql.additions import _reshaped
from airflow_elt_provider.connectors.mysql.catalog import SourceColumn
from airflow_elt_provider.connectors.mysql.decode import no_dates
from airflow_elt_provider.connectors.mysql.key_buckets import KeyBuckets
from airflow_elt_provider.connectors.mysql.names import literal, quoted
from airflow_elt_provider.connectors.mysql.row_stream import BLOCK_BYTES, _next_size
from airflow_elt_provider.connectors.mysql.selection import SelectedColumn, Selection
from airflow_elt_provider.connectors.mysql.settings import MySqlSettings, of_connection
from airflow_elt_provider.connectors.mysql.types import MySqlType, answered, arrow_type, projection
from airflow_elt_provider.core.buckets import BucketKind
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.errors import ConfigurationError

# --- settings ---


def test_a_connection_as_airflow_writes_it():
    uri = "mysql://reader:s%20ecret@db.internal:3307/shop?ssl_mode=required&charset=utf8"
    settings = of_connection(ConnectionParts.parse("shop", uri))
    assert str(settings) == "reader@db.internal:3307/shop"
    assert (settings.ssl_mode, settings.password.reveal()) == ("REQUIRED", "s ecret")
    assert "ecret" not in repr(settings)


@pytest.mark.parametrize(
    ("extra", "mode"),
    [
        ({}, "PREFERRED"),
        ({"ssl_ca": "/ca.pem"}, "VERIFY_IDENTITY"),
        ({"ssl": {"ca": "/ca.pem"}}, "VERIFY_IDENTITY"),
        ({"ssl": json.dumps({"ca": "/ca.pem", "cert": "/c", "key": "/k"})}, "VERIFY_IDENTITY"),
        ({"ssl": True}, "VERIFY_IDENTITY"),
        ({"ssl": {"ca": "/ca.pem", "check_hostname": False}}, "VERIFY_CA"),
        ({"ssl": {"ca": "/ca.pem", "verify_mode": "none"}}, "REQUIRED"),
        ({"ssl_ca": "/ca.pem", "ssl_mode": "verify_ca"}, "VERIFY_CA"),
        ({"ssl_verify_cert": "true", "ssl_verify_identity": "false"}, "VERIFY_CA"),
        ({"ssl_disabled": True}, "DISABLED"),
    ],
)
def test_tls_is_verified_unless_somebody_says_otherwise(extra, mode):
    assert MySqlSettings.parse(extra).ssl_mode == mode


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"ssl_mode": "maybe"}, "VERIFY_IDENTITY"),
        ({"ssl": {"authority": "/x"}}, "unknown member 'authority'"),
        ({"ssl": "{broken"}, "is not an object"),
        ({"sslmode": "require"}, "unknown extra 'sslmode'"),
        ({"port": "three"}, "port='three'"),
    ],
)
def test_wrong_settings_are_refused(extra, message):
    with pytest.raises(ConfigurationError, match=message):
        MySqlSettings.parse(extra)


# --- names and types ---


def test_names_and_literals():
    assert quoted("my`db", "日本") == "`my``db`.`日本`"
    assert literal("it's a \\ and \0") == "'it''s a \\\\ and \\0'"


def kind(declared, digits=(0, 0)):
    name = declared.split("(")[0].split(" ")[0]
    return MySqlType(name, declared, "unsigned" in declared, digits)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (kind("tinyint(1)"), pa.int16()), (kind("tinyint unsigned"), pa.int16()), (kind("smallint"), pa.int16()),
        (kind("smallint unsigned"), pa.int32()), (kind("mediumint unsigned"), pa.int32()), (kind("int"), pa.int32()),
        (kind("int unsigned"), pa.int64()), (kind("bigint"), pa.int64()),
        (kind("bigint unsigned"), pa.decimal128(20, 0)), (kind("decimal", (38, 10)), pa.decimal128(38, 10)),
        (kind("decimal", (39, 10)), pa.string()), (kind("bit", (1, 0)), pa.bool_()), (kind("bit", (8, 0)), pa.int64()),
        (kind("bit", (64, 0)), pa.decimal128(20, 0)), (kind("year"), pa.int16()), (kind("time"), pa.string()),
        (kind("timestamp"), pa.timestamp("us", "UTC")), (kind("datetime"), pa.timestamp("us")),
        (kind("varbinary"), pa.binary()), (kind("point"), pa.string()), (kind("inet6"), pa.string()),
    ],
)  # fmt: skip
def test_arrow_types(of, expected):
    assert arrow_type(of)[0].equals(expected)


def test_what_a_querys_answer_tells():
    assert answered(246, 12, 2, 0, 63).digits == (10, 2)
    assert answered(246, 11, 2, 32, 63).digits == (10, 2)
    assert answered(246, 5, 0, 0, 63).digits == (4, 0)
    assert answered(253, 4, 0, 128, 63).name == "varbinary"
    assert answered(252, 400, 0, 0, 45).name == "longtext"
    assert answered(8, 20, 0, 32, 63) == MySqlType("bigint", "bigint unsigned", unsigned=True)


def test_floats_are_asked_for_with_all_their_digits():
    assert projection(kind("float"), "`f`") == "(`f` + 0e0)"


def test_days_that_no_calendar_has():
    texts = ["2024-02-29", "0000-00-00", None, "2024-00-10", "2024-02-31", "2023-02-29", "0000-01-01", "9999-12-31"]
    assert no_dates(pa.array(texts[:1])) is None
    assert no_dates(pa.array(texts)).to_pylist() == [False, True, False, True, True, True, True, False]


# --- buckets ---


def selection(*columns, key):
    selected = tuple(SelectedColumn(SourceColumn(name, of), Column(name, arrow_type(of)[0])) for name, of in columns)
    return Selection(selected, TableSchema(tuple(column.column for column in selected), key))


@pytest.mark.parametrize(
    ("of", "found"),
    [
        (kind("int"), BucketKind.RANGE), (kind("bigint unsigned"), BucketKind.MD5), (kind("varchar"), BucketKind.MD5),
        (kind("date"), BucketKind.ALL), (kind("binary"), BucketKind.ALL),
    ],
)  # fmt: skip
def test_the_kind_of_bucket(of, found):
    assert KeyBuckets.of(selection(("id", of), key=("id",)), ()).kind is found


def test_a_masked_key_has_no_buckets():
    assert KeyBuckets.of(selection(("id", kind("int")), key=("id",)), ("id",)).kind is BucketKind.ALL


def test_parts_of_a_key_tell_the_bucket():
    key = KeyBuckets.of(selection(("a", kind("date")), ("b", kind("int")), key=("a", "b")), ())
    assert (key.kind, key.sized(64, 3).columns) == (BucketKind.MD5, ("b",))


def test_ranges_of_small_keys_begin_with_a_key():
    key = KeyBuckets.of(selection(("id", kind("tinyint")), key=("id",)), ())
    told = key.sized(1 << 20, 0)
    assert told.size == 1 << 15
    (named,) = key.named([-1, 0], told)
    assert named.to_pylist() == [{"id": -32768, "_elt_op": "b"}, {"id": 0, "_elt_op": "b"}]
    assert list(key.predicates([-1, 0, 2], key.sized(64, 0))) == [
        "`id` BETWEEN -64 AND 63 OR `id` BETWEEN 128 AND 191 OR `id` IS NULL"
    ]


# --- the rest ---


def test_blocks_grow_and_shrink_with_the_rows():
    assert _next_size([(b"x",)] * 64) == 256
    assert _next_size([(b"x" * BLOCK_BYTES, None)]) == 1
    assert _next_size([(b"x" * 1000,)] * 64) == 256


def test_columns_that_are_others_now():
    before = {"id": "1 int(11)", "a": "2 int(11)", "b": "3 text"}
    assert _reshaped(before, {"id": "1 int(11)", "a": "2 bigint(20)", "b": "3 text"}) == ("a",)
    assert _reshaped(before, {"id": "1 int(11)", "b": "2 text"}) == ()
    assert "a" in _reshaped(before, {"id": "1 int(11)", "b": "2 text", "a": "3 int(11)"})
