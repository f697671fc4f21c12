"""What other readers make of the same bytes, really asked: where they are wrong, the guess is right."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pyarrow.csv as pacsv
import pytest

from airflow_elt_provider.formats.guess import guess
from airflow_elt_provider.formats.guess_sample import Sample

CASES = {
    # name: text, column, what it is, what Arrow and DuckDB make of the first value
    "ZIP codes": ("zip\n00001\n00002\n", "zip", "text", 1, "00001"),
    "phones with a plus": ("n,tel\n1,+819012345678\n2,+81312345678\n", "tel", "text", 819012345678.0, "+819012345678"),
    "Namibia": ("n,country\n1,NA\n2,JP\n", "country", "text", "NA", "NA"),
    "money": ("n,x\n1,0.10\n2,12345678901234567.89\n", "x", "decimal(25,2)", 0.1, 0.1),
    "versions": ("n,v\n1,1.10\n2,1.9\n", "v", "text", 1.1, 1.1),
    "codes like numbers": ("n,c\n1,1e5\n2,2e7\n", "c", "text", 100000.0, 100000.0),
    "beyond bigint": ("n,x\n1,9223372036854775809\n2,1\n", "x", "decimal(25,0)", 9.223372036854775808e18, None),
    "zeros and ones": ("n,flag\n1,1\n2,0\n", "flag", "bigint", 1, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_a_case(case, tmp_path):
    text, column, kind, of_arrow, of_duckdb = CASES[case]
    path = tmp_path / "x.csv"
    path.write_text(text)
    found = {one.name: one.type for one in guess(Sample.of_bytes(text.encode()), "x.csv").columns}
    assert found[column] == kind
    assert pacsv.read_csv(path).column(column)[0].as_py() == of_arrow
    if of_duckdb is not None:
        (value,) = duckdb.connect().execute(f"SELECT {column} FROM read_csv('{path}')").fetchone()
        assert (float(value) if isinstance(value, Decimal) else value) == of_duckdb


def test_pandas_takes_namibia_for_nothing(tmp_path):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "x.csv").write_text("n,country\n1,NA\n2,JP\n")
    assert pandas.read_csv(tmp_path / "x.csv")["country"].isna().tolist() == [True, False]
