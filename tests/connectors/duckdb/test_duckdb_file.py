"""One file, one writer: the line in front of it, other people's processes, and files that are none."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from airflow_elt_provider.connectors.duckdb import lock
from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError
from tests.connectors.staged_loads import Loads, bring_in

ROOT = Path(__file__).parents[3]
HOLD_OURS = """
import sys, threading
from airflow_elt_provider.connectors.duckdb.session import DuckdbFile
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
with DuckdbFile(DuckdbSettings(sys.argv[1]), None).session("merging into raw.other"):
    print("held", flush=True)
    sys.stdin.readline()
"""
HOLD_THEIRS = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def loads(tmp_path):
    return Loads(tmp_path, "raw.item", columns=("id bigint", "v text"))


@pytest.fixture
def holder(path):
    """Start a process that holds the file until its input ends."""
    started = []

    def hold(program):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


@pytest.mark.parametrize("program", [HOLD_OURS, HOLD_THEIRS], ids=["ours", "theirs"])
def test_a_holder_is_named_and_waited_for(path, loads, holder, caplog, monkeypatch, program):
    loads.merge(DuckdbDestination(DuckdbSettings(str(path))), (1, "a"))
    process = holder(program)
    hasty = DuckdbDestination(DuckdbSettings(str(path), lock_timeout=0.3))
    with pytest.raises(TransientError, match=str(process.pid)) as caught:
        hasty.receipt("x")
    assert "lock_timeout" in caught.value.hint
    if program is HOLD_OURS:
        assert "merging into raw.other" in str(caught.value)
    monkeypatch.setattr(lock, "SAY_EVERY", 0.2)
    caplog.set_level(logging.INFO)
    patient = DuckdbDestination(DuckdbSettings(str(path), lock_timeout=30))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patient.receipt, "x")
        time.sleep(0.7)
        assert not waiting.done()
        process.stdin.close()
        assert waiting.result(20) is None
    assert f"held by process {process.pid}" in caplog.text or f"PID {process.pid}" in caplog.text


def test_a_killed_holder_leaves_no_lock(path, loads, holder):
    destination = DuckdbDestination(DuckdbSettings(str(path), lock_timeout=10))
    process = holder(HOLD_OURS)
    process.kill()
    process.wait()
    assert loads.merge(destination, (1, "a")).inserted == 1


def test_a_connection_of_this_process_is_waited_for(path, loads):
    destination = DuckdbDestination(DuckdbSettings(str(path), lock_timeout=20))
    loads.merge(destination, (1, "a"))
    reader = duckdb.connect(str(path), read_only=True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(loads.merge, destination, (2, "b"))
        time.sleep(0.3)
        assert not waiting.done()
        reader.close()
        assert waiting.result(20).inserted == 1


def test_many_tables_at_once(path, tmp_path, query):
    def one(number):
        table = Loads(tmp_path / str(number), f"raw.t{number}", columns=("id bigint", "v text"), stream=f"s{number}")
        destination = DuckdbDestination(DuckdbSettings(str(path), lock_timeout=60))
        return [table.merge(destination, *((i, f"{round_}") for i in range(50))).updated for round_ in range(3)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(6))) == [[0, 50, 50]] * 6
    assert query("SELECT count(*) FROM _elt.receipts") == [(18,)]


MERGING = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from tests.connectors.staged_loads import Loads, bring_in
seen = 0
def kill_at(sql):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
loads = Loads(Path(sys.argv[3]), "raw.item", columns=("id bigint", "v text"), mode="append")
load = loads.make(*((i, "x" * 100) for i in range(2000)), load_id="0" * 32)
bring_in(DuckdbDestination(DuckdbSettings(sys.argv[1]), observe=kill_at), load, loads.stage)
print("merged", flush=True)
"""


def test_kill_anywhere_and_retry(tmp_path):
    """SIGKILL at moments spread over prepare and commit; the retry finds all or nothing."""
    killed = 0
    for moment in (1, 3, 8, 15, 20, 23, 26, 29, 32, 34, 35, 36, 99):
        path, folder = tmp_path / f"{moment}.duckdb", tmp_path / f"f{moment}"
        command = [sys.executable, "-c", MERGING.format(root=str(ROOT)), str(path), str(moment), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        killed += done.returncode == -signal.SIGKILL
        assert done.returncode == -signal.SIGKILL or "merged" in done.stdout, done.stderr
        again = Loads(folder / "again", "raw.item", columns=("id bigint", "v text"), mode="append")
        load = again.make(*((i, "x" * 100) for i in range(2000)), load_id="0" * 32)
        assert bring_in(DuckdbDestination(DuckdbSettings(str(path))), load, again.stage).inserted == 2000
        with duckdb.connect(str(path)) as connection:
            assert connection.execute("SELECT count(*) FROM raw.item").fetchall() == [(2000,)], moment
    assert killed >= 8


def test_cancel_ends_waiting_and_working(path, loads, holder):
    destination = DuckdbDestination(DuckdbSettings(str(path), lock_timeout=60))
    loads.merge(destination, (1, "a"))
    destination.cancel()
    holder(HOLD_OURS)
    threading.Timer(0.3, destination.cancel).start()
    with pytest.raises(TransientError, match="stopped"):
        destination.receipt("x")


def test_cancel_interrupts_a_statement(path, loads):
    destination = DuckdbDestination(DuckdbSettings(str(path)))
    loads.merge(destination, (1, "a"))
    slow = "sql: id < (SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3)"
    threading.Timer(0.5, destination.cancel).start()
    with pytest.raises(TransientError, match="stopped"):
        loads.merge(destination, (2, "b"), checks=[slow])
    assert destination.checkpoint("stream").version == 1


# --- files that are none ---


@pytest.mark.parametrize("path", ["", ":memory:", ":memory:x"])
def test_memory_is_no_destination(path):
    with pytest.raises(ConfigurationError, match="no file"):
        DuckdbSettings.parse({"path": path})


def test_settings_are_read_and_refused():
    assert DuckdbSettings.parse({"path": "/x", "lock_timeout": "5", "threads": None}).lock_timeout == 5.0
    with pytest.raises(ConfigurationError, match="lock_timeout='soon'"):
        DuckdbSettings.parse({"path": "/x", "lock_timeout": "soon"})
    with pytest.raises(ConfigurationError, match="'colour'"):
        DuckdbSettings.parse({"path": "/x", "colour": "red"})


def test_a_missing_folder_is_made(tmp_path, loads):
    path = tmp_path / "new" / "folder" / "x.duckdb"
    assert DuckdbDestination(DuckdbSettings(str(path))).receipt("x") is None
    assert not path.parent.exists()
    assert loads.merge(DuckdbDestination(DuckdbSettings(str(path))), (1, "a")).inserted == 1


def test_what_is_no_database_is_refused(tmp_path, loads):
    (tmp_path / "text").write_text("no database at all" * 500)
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    torn = tmp_path / "torn"
    loads.merge(DuckdbDestination(DuckdbSettings(str(torn))), (1, "a"))
    data = torn.read_bytes()
    torn.write_bytes(data[:12] + b"\xff" * 300 + data[312 : len(data) // 2])
    for name in ("text", "empty", "folder", "torn", "text/below"):
        with pytest.raises(ConfigurationError, match=name):
            Loads(tmp_path / "other", "t", columns=("id bigint", "v text")).merge(
                DuckdbDestination(DuckdbSettings(str(tmp_path / name))), (1, "a")
            )


def test_wrong_options_are_refused(path, loads):
    with pytest.raises(ConfigurationError, match="memory_limit"):
        loads.merge(DuckdbDestination(DuckdbSettings(str(path), memory_limit="lots")), (1, "a"))


def test_a_full_disk_is_said(tmp_path, loads):
    """A file size limit stands in for a full disk."""
    program = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.errors import ConfigurationError
from tests.connectors.staged_loads import Loads
destination = DuckdbDestination(DuckdbSettings({str(tmp_path / "x.duckdb")!r}))
loads = Loads(Path({str(tmp_path)!r}), "raw.item", columns=("id bigint", "v text"))
loads.merge(destination, (1, "a"))
load = [(i, str(i) * 20) for i in range(100000)]
loads.stage
import tests.connectors.staged_loads as staged
made = loads.make(*load)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    staged.bring_in(destination, made, loads.stage)
except ConfigurationError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "refused:" in done.stdout, done.stderr
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        assert connection.execute("SELECT count(*) FROM raw.item").fetchall() == [(1,)]


# --- names and tables ---


def test_a_file_named_like_its_schema(tmp_path, loads):
    path = tmp_path / "raw.duckdb"
    loads.merge(DuckdbDestination(DuckdbSettings(str(path))), (1, "a"))
    loads.merge(DuckdbDestination(DuckdbSettings(str(path))), (2, "b"), target="raw.raw.item")
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT count(*) FROM raw.raw.item").fetchall() == [(2,)]
    with pytest.raises(ConfigurationError, match=r"schema\.table"):
        loads.merge(DuckdbDestination(DuckdbSettings(str(path))), (1, "a"), target="other.raw.item")


def test_case_does_not_count(destination, loads, query):
    query('CREATE SCHEMA raw; CREATE TABLE raw.ITEM (ID bigint, "V" varchar)')
    loads.merge(destination, (1, "a"))
    assert loads.merge(destination, (1, "b")).updated == 1
    assert query("SELECT * FROM raw.item") == [(1, "b")]
    with pytest.raises(ConfigurationError, match="one name in DuckDB"):
        loads.merge(destination, (1, "a", "b"), columns=("id bigint", "v text", "V text"))


def test_constraints_of_a_user_s_table_hold(destination, loads, query):
    query("CREATE SCHEMA raw; CREATE TABLE raw.item (id bigint PRIMARY KEY, v varchar NOT NULL CHECK (v <> 'bad'))")
    loads.merge(destination, (1, "a"), (2, "b"))
    assert loads.merge(destination, (1, "A"), (3, "c"), mode="replace").updated == 1
    for row in ((4, None), (4, "bad")):
        with pytest.raises(DataError, match="onstraint"):
            loads.merge(destination, row)
    assert query("SELECT * FROM raw.item ORDER BY 1") == [(1, "A"), (3, "c")]


def test_nothing_keeps_the_file_open(path, destination, loads):
    loads.merge(destination, (1, "a"))
    opened = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [name for name in opened if name.startswith(str(path))]
