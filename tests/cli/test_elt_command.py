"""The elt command as a user types it: real processes, a real PostgreSQL, a DuckDB file."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from servers.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ELT = Path(sys.executable).with_name("elt")


class Shell:
    """A folder, its connections, and the command."""

    def __init__(self, server: PostgresServer, dbname: str, folder: Path) -> None:
        self.server, self.dbname, self.folder = server, dbname, folder
        self.stage = f"file://{folder}/stage"
        self.env = {
            **os.environ,
            "AIRFLOW_CONN_SHOP": server.airflow_uri(dbname),
            "AIRFLOW_CONN_LAKE": f"duckdb://{folder}/lake.duckdb",
            "AIRFLOW_CONN_ODD": "mongo://somewhere/x",
        }

    def elt(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ELT, *words], env=self.env, capture_output=True, text=True, check=False)

    def sync(self, *words: str, table: str = "public.item", source: str = "shop", stage: str = "") -> Any:
        done = self.elt(
            "sync", "--source-conn-id", source, "--source-table", table, "--destination-conn-id", "lake",
            "--target-table", "raw.item", "--stage", stage or self.stage, "--json", *words,
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else done

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "lake.duckdb")) as lake:
            return lake.execute(sql).fetchall()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def shell(server: PostgresServer, tmp_path: Path) -> Iterator[Shell]:
    with server.database() as dbname:
        session = server.connect(dbname)
        with session, session.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE item (id int PRIMARY KEY, name text, "
                "updated_at timestamptz DEFAULT now() - interval '1 day'); "
                "INSERT INTO item SELECT g, 'n' || g FROM generate_series(1, 5) g"
            )
        session.close()
        yield Shell(server, dbname, tmp_path)


def test_sync_reset_and_sync_again(shell: Shell) -> None:
    cursor = ("--cursor-column", "updated_at")
    first = shell.sync(*cursor)
    assert (first["extracted"], first["inserted"]) == (5, 5)
    assert shell.sync(*cursor)["extracted"] == 0
    assert shell.query("SELECT count(*) FROM raw.item") == [(5,)]
    done = shell.elt("reset", "--destination-conn-id", "lake", "--stream", first["stream"])
    assert done.returncode == 0, done.stderr
    again = shell.sync(*cursor)
    assert (again["extracted"], again["inserted"], again["updated"]) == (5, 0, 0)


def test_a_repeated_run_id_is_the_same_load(shell: Shell) -> None:
    first = shell.sync("--mode", "append", "--run-id", "monday")
    assert shell.sync("--mode", "append", "--run-id", "monday")["load_id"] == first["load_id"]
    assert shell.query("SELECT count(*) FROM raw.item") == [(5,)]


def test_files_of_a_folder(shell: Shell) -> None:
    shell.env["AIRFLOW_CONN_SHARE"] = "fs://"
    (shell.folder / "a.csv").write_text("id,name\n1,猫\n2,\n")
    words = (
        "sync", "--destination-conn-id", "lake", "--target-table", "raw.item", "--stage", shell.stage,
        "--path", f"{shell.folder}/*.csv", "--column-type", "id=int", "--primary-key", "id", "--json",
    )  # fmt: skip
    done = shell.elt(*words, "--source-conn-id", "share")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stream"] == "share.files->raw.item"
    assert shell.query("SELECT * FROM raw.item ORDER BY id") == [(1, "猫"), (2, None)]
    done = shell.elt(*words, "--source-conn-id", "shop")
    assert done.returncode == 2
    assert "it leads to tables, and path names files" in done.stderr
    (shell.folder / "a.csv").write_text("id,name\nx,猫\n")
    assert shell.elt(*words, "--source-conn-id", "share").returncode == 3


def test_gc_takes_old_files_away(shell: Shell) -> None:
    shell.sync()
    assert list((shell.folder / "stage").rglob("*.parquet"))
    done = shell.elt("gc", "--stage", shell.stage, "--older-than", "0", "--destination-conn-id", "lake", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == 2
    assert not list((shell.folder / "stage").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"table": "public.itme"}, 2, "public.item"),
        ({"source": "nowhere"}, 2, "AIRFLOW_CONN_NOWHERE"),
        ({"source": "odd"}, 2, "mongo"),
        ({"stage": "ftp://x"}, 2, "ftp://x"),
    ],
)
def test_bad_input_says_value_and_remedy(shell: Shell, arguments: dict[str, str], code: int, words: str) -> None:
    done = shell.sync(**arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "Remedy" in done.stderr


def test_failed_check_is_a_data_error(shell: Shell) -> None:
    done = shell.sync("--check", "row_count(min=6)")
    assert done.returncode == 3
    assert "at least 6" in done.stderr


def test_a_password_is_never_shown(shell: Shell, server: PostgresServer) -> None:
    shell.env["AIRFLOW_CONN_SHOP"] = f"postgres://elt:wr0ng-s3cret@127.0.0.1:{server.port}/postgres"
    done = shell.sync()
    assert done.returncode == 2
    assert "wr0ng-s3cret" not in done.stderr + done.stdout


def test_airflow_is_not_needed(shell: Shell) -> None:
    """The whole journey runs in a process where importing airflow fails."""
    code = (
        "import sys; sys.modules['airflow'] = None; "
        "from airflow_elt_provider.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [
        "sync", "--source-conn-id", "shop", "--source-table", "public.item", "--destination-conn-id", "lake",
        "--target-table", "raw.item", "--stage", shell.stage,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=shell.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_masked_columns_and_rows_set_aside(shell: Shell) -> None:
    """The key is another connection's password; it is never shown, nor is what it hides."""
    shell.env["AIRFLOW_CONN_PRIVACY"] = "generic://:correct-horse-battery-staple@"
    masks = ("--hash-column", "name=privacy", "--redact-column", "updated_at=-", "--column-type", "id=smallint")
    words = (*masks, "--max-quarantined-rows", "1")
    session = shell.server.connect(shell.dbname)
    with session, session.cursor() as cursor:
        cursor.execute("INSERT INTO item VALUES (40000, 'n6')")
    session.close()
    done = shell.elt(
        "sync", "--source-conn-id", "shop", "--source-table", "item", "--destination-conn-id", "lake",
        "--target-table", "raw.item", "--stage", shell.stage, "--json", *words,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["quarantined"]) == (0, 1)
    key = b"correct-horse-battery-staple"
    expected = [(at, hmac.new(key, f"n{at}".encode(), hashlib.sha256).hexdigest(), "-") for at in range(1, 6)]
    assert shell.query("SELECT id, name, updated_at FROM raw.item ORDER BY id") == expected
    assert key.decode() not in done.stdout + done.stderr
    too_many = shell.sync(*masks, "--full-refresh")
    assert (too_many.returncode, "40000" in too_many.stderr) == (3, True)
    shell.env["AIRFLOW_CONN_PRIVACY"] = "generic://"
    assert "'privacy' has no password" in shell.sync(*words).stderr


def test_plan_and_reconcile(shell: Shell) -> None:
    """A plan leaves nothing; two equal tables are 0, different ones 3, and the result is said all the same."""
    journey = ("--source-conn-id", "shop", "--source-table", "public.item", "--destination-conn-id", "lake",
               "--target-table", "raw.item")  # fmt: skip
    planned = shell.elt("plan", *journey, "--json")
    assert json.loads(planned.stdout)["rows"] == 5, planned.stderr
    assert "CREATE TABLE" in shell.elt("plan", *journey).stdout
    assert not (shell.folder / "lake.duckdb").exists()
    shell.sync()
    equal = shell.elt("reconcile", *journey)
    assert (equal.returncode, "equal" in equal.stdout) == (0, True), equal.stderr
    with duckdb.connect(str(shell.folder / "lake.duckdb")) as lake:
        lake.execute("DELETE FROM raw.item WHERE id = 3")
    unequal = shell.elt("reconcile", *journey, "--json", "--retry-pause", "0.1")
    assert unequal.returncode == 3
    assert [key["key"] for key in json.loads(unequal.stdout)["keys"]] == [{"id": "3"}]
    assert "id=3 (missing)" in unequal.stderr
    assert shell.elt("reconcile", *journey, "--max-differences", "1", "--retry-differing", "0").returncode == 0
