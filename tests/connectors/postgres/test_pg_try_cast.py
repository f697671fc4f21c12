from __future__ import annotations

import pytest

from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect


@pytest.mark.parametrize(
    ("value", "type_", "held"),
    [
        ("'x'::text", "integer", None), ("'5'::text", "integer", "5"), ("5.00::numeric(12,2)", "smallint", "5"),
        ("5.01::numeric(12,2)", "integer", None), ("99999::numeric", "smallint", None), ("true", "integer", "1"),
        ("7::bigint", "boolean", None), ("1::bigint", "boolean", "true"), ("NULL::text", "integer", None),
        ("123456::numeric", "numeric(5,2)", None), ("1.239::numeric", "numeric(5,2)", "1.24"),
        ("'abcd'::text", "character varying(3)", None), ("7::integer", "date", None),
        ("'NaN'::float8", "bigint", None), ("1e300::float8", "bigint", None),
        ("'2024-01-02 03:04'::timestamp", "date", "2024-01-02"), ("'{'::text", "json", None),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_null(sql, postgres_server, value, type_, held):
    version = int(sql("SHOW server_version_num")[0][0])
    if version < 160_000:
        pytest.skip("the function is new in PostgreSQL 16")
    given = PostgresDialect(version).try_cast("v", type_)
    row = f"(SELECT {value} AS v OFFSET 0) _elt_r"  # a constant would be converted before anybody asks
    assert sql(f"SELECT ({given})::text, pg_typeof({given})::text FROM {row}") == [(held, type_.partition("(")[0])]


def test_before_16_it_is_a_cast():
    assert PostgresDialect(150_000).try_cast("x", "integer") == "CAST(x AS integer)"
