"""The very statements that a Hologres instance is sent, in files to be read; PostgreSQL's grammar takes them all.

`ELT_GOLDEN=write` writes the files anew; look at what git says then.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import sqlglot

from airflow_elt_provider.connectors.hologres.destination import HologresDestination
from airflow_elt_provider.core.buckets import BucketKind, Buckets
from tests.connectors.staged_loads import Loads

GOLDEN = Path(__file__).parent / "golden"
COLUMNS = ("id bigint", "name text", "amount decimal(12,2)", "at timestamptz")
OPTIONS = {"orientation": "column", "distribution_key": ["id"], "bitmap_columns": ["name"]}
CHANGE = {
    "ops": [("p0", (1, "w", None, None)), ("b", (0,)), ("k", (3,))], "unchanged": (("amount", "at"),),
    "buckets": Buckets(BucketKind.RANGE, ("id",), 64), "max_delete_ratio": 1,
}  # fmt: skip
STORIES = {
    "merge": ({"mode": "merge"}, {"mode": "merge"}),
    "append": ({"mode": "append"}, {"mode": "append"}),
    "replace": ({"mode": "replace", "complete": True}, {"mode": "replace", "complete": True}),
    "soft-deletes": ({"deletes": "soft", "complete": True}, {"deletes": "soft", "complete": True}),
    "changes": ({"deletes": "hard", "complete": True}, {"deletes": "hard", **CHANGE}),
    "guarded-changes": ({"deletes": "soft", "complete": True}, {"deletes": "soft", **CHANGE}),
    "guarded-merge": ({"mode": "merge"}, {"mode": "merge"}),
    "guarded-soft-deletes": ({"deletes": "soft", "complete": True}, {"deletes": "soft", "complete": True}),
}


def statements(settings, folder, story):
    """Return what is sent for a first and a second load, catalog queries apart."""
    sent = []
    destination = HologresDestination(settings, observe=lambda sql: sent.append(" ".join(sql.split())))
    loads = Loads(folder, "raw.item", columns=COLUMNS, settings={"table_options": OPTIONS})
    first, second = STORIES[story]
    ids = iter(("a" * 32, "b" * 32))
    loads.merge(destination, (1, "x", None, None), (2, "y", None, None), load_id=next(ids), **first)
    sent.append("-- a second load")
    loads.merge(destination, (2, "z", None, None), (3, "y", None, None), load_id=next(ids), **second)
    return [_plain(sql) for sql in sent if sql and "pg_catalog.pg_" not in sql and "current_database" not in sql]


def _plain(sql):
    sql = re.sub(r"\d{8}T\d{6}_(\w{4})\w{28}_\w{8}", r"staging_\1", sql)
    return sql.replace("\0", "?")


@pytest.mark.parametrize("story", list(STORIES))
def test_the_statements(settings, older, tmp_path, story):
    chosen = replace(settings, port=older.port) if story.startswith("guarded") else settings
    found = statements(chosen, tmp_path, story)
    for sql in found:
        if not sql.startswith(("--", "CALL", "COPY")):
            sqlglot.parse_one(sql.replace("?", "NULL"), dialect="postgres")
    path = GOLDEN / f"{story}.sql"
    text = "".join(f"{sql}\n" if sql.startswith("--") else f"{sql};\n" for sql in found)
    if os.environ.get("ELT_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_nothing_that_hologres_lacks_stands_in_them():
    everything = "".join(path.read_text() for path in GOLDEN.glob("*.sql")).upper()
    for word in ("MERGE ", "LOCK TABLE", "ADVISORY", "UNLOGGED", "TEMP ", "FREEZE", "COLLATE", "RETURNING", "USING ",
                 "IF NOT EXISTS RAW", "TRUNCATE", "SAVEPOINT", "SET LOCAL", "FLOAT8SEND"):  # fmt: skip
        assert word not in everything
