"""A manifest that somebody wrote by hand: what stands in it must not become SQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_elt_provider.connectors.postgres.dialect import PostgresDialect
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.errors import DataError
from tests.connectors.staged_loads import Loads, column

pytestmark = pytest.mark.lowest
EVIL = "x'), (1); DROP TABLE t; --"


@pytest.fixture
def manifest(tmp_path):
    columns = [column("id bigint"), column("i text", source_type="interval year); DROP TABLE x; --")]
    return Loads(tmp_path, "raw.t", columns=columns, mode="append").make((1, "a")).manifest


@pytest.mark.parametrize("change", [{"load_id": EVIL}, {"replaces": (EVIL,)}, {"load_id": "0" * 31}])
def test_load_ids_are_hexadecimal(manifest, change):
    data = replace(manifest, **change).to_bytes()
    with pytest.raises(DataError, match="is no load id"):
        Manifest.from_bytes(data, ManifestRef("file:///manifest"))


def test_a_declared_type_is_a_type_or_text(manifest):
    assert PostgresDialect(180_000).column_type(manifest.schema.columns[1]) == "text"
