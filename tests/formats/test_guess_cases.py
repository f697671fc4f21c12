"""Every case of the table, and what other readers make of the same bytes."""

from __future__ import annotations

import pytest

from airflow_elt_provider.formats.guess import guess
from airflow_elt_provider.formats.guess_check import check
from airflow_elt_provider.formats.guess_sample import Sample
from tests.formats.guess_cases import CASES


def _bytes(case):
    return case.text if isinstance(case.text, bytes) else case.text.encode(case.charset)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case(case, tmp_path):
    found = guess(Sample.of_bytes(_bytes(case)), case.file)
    assert {one.name: one.type for one in found.columns} == case.types
    assert found.form.to_json() == {"type": "csv", "delimiter": ",", **case.form}
    told = " ".join(
        [*(one.why for one in found.columns), *(fact.why for fact in found.facts.values()), *found.warnings]
    )
    assert case.why in told
    assert all(0 < one.confidence <= 1 and one.why for one in [*found.columns, *found.facts.values()])
    (tmp_path / case.file).write_bytes(_bytes(case))
    done = check(tmp_path / case.file, found)
    assert not done.misfits, done
