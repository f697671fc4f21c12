"""The package that docs/own-destination.md shows is built, installed beside ours, found and used."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from servers.postgres import PostgresServer
from tests.docs.pages import ELT

EXAMPLE = Path(__file__).parents[2] / "docs" / "own-destination"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example and install it into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", "--no-index", "--target", folder, EXAMPLE,
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=120)
    return folder


def environment(installed: Path, **connections: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed), **connections}


def test_the_registry_finds_it(installed: Path) -> None:
    code = (
        "from airflow_elt_provider.registry import find_system, resolve\n"
        "row = find_system('sqlite', 'lite', 'destination')\n"
        "print(row.name, resolve(row.hook, row).__name__, resolve(row.destination, row).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(installed), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["sqlite", "SqliteHook", "SqliteDestination"]


def test_the_command_line_loads_into_it(installed: Path, tmp_path: Path) -> None:
    file = tmp_path / "lite.db"
    with PostgresServer() as server, server.database() as dbname:
        with closing(server.connect(dbname)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'one')")
        sync = [
            ELT, "sync", "--source-conn-id", "rds", "--source-table", "public.item", "--destination-conn-id", "lite",
            "--target-table", "item", "--stage", f"file://{tmp_path / 'stage'}",
        ]  # fmt: skip
        env = environment(
            installed, AIRFLOW_CONN_RDS=server.airflow_uri(dbname),
            AIRFLOW_CONN_LITE=json.dumps({"conn_type": "sqlite", "host": str(file)}),
        )  # fmt: skip
        for _ in range(2):
            subprocess.run(sync, env=env, check=True, capture_output=True, timeout=120)
    with closing(sqlite3.connect(file)) as lite:
        assert lite.execute("SELECT id, name FROM item").fetchall() == [(1, "one")]
        assert lite.execute('SELECT max(inserted) FROM "_elt.receipts"').fetchone() == (1,)
