"""The elt command on a real pseudo-terminal, through a pipe, and interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_elt_provider.cli.terminal import line_of
from airflow_elt_provider.engine.progress import Progress, heard_by
from servers.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ELT = Path(sys.executable).with_name("elt")
CLEAR = "\r\x1b[2K"
SLOW = "SELECT g AS id, pg_sleep(0.02)::text AS slept FROM generate_series(1, 40) g"
ENDLESS = "SELECT g AS id, pg_sleep(600)::text AS slept FROM generate_series(1, 2) g"


class Terminal:
    """A pseudo-terminal of 60 columns on which a command runs; its standard output is another file if asked."""

    def __init__(self, words: list[str], env: dict[str, str], stdout: Path | None = None) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever began these tests may ignore it

        with stdout.open("wb") if stdout else contextlib.nullcontext(slave) as out:
            self.process = subprocess.Popen(
                [ELT, *words],
                env=env,
                stdin=slave,
                stdout=out,
                stderr=slave,
                preexec_fn=own_terminal,  # noqa: PLW1509 - nothing else runs in threads here
            )
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read(self) -> str:
        """Read until the command has ended, and return all that it showed."""
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # Linux says so when the last writer has gone
                data = b""
            if not data:
                os.close(self._master)
                self.process.wait(60)
                return self.shown
            self.shown += data.decode()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def env(server, tmp_path):
    return {
        **{name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}},
        "TERM": "xterm-256color",
        "AIRFLOW_CONN_SHOP": server.airflow_uri(),
        "AIRFLOW_CONN_LAKE": f"duckdb://{tmp_path}/lake.duckdb",
    }


def sync(tmp_path: Path, query: str, *words: str) -> list[str]:
    return ["sync", "--source-conn-id", "shop", "--query", query, "--destination-conn-id", "lake", "--target-table",
            "raw.slow", "--primary-key", "id", "--stage", f"file://{tmp_path}/stage", *words]  # fmt: skip


def test_a_terminal_shows_a_bar_below_the_log(env, tmp_path):
    """It is drawn in place, never wider than the terminal, and gone in the end; the result is plain text."""
    terminal = Terminal(sync(tmp_path, SLOW), env)
    shown = terminal.read()
    assert terminal.process.returncode == 0, shown
    bars = re.findall(r"\x1b\[36m(.*?)\x1b\[0m", shown)
    assert any(re.fullmatch(r"[-|/\\] shop\.query->raw\.slow: extract  .*0:0\d", bar) for bar in bars), shown
    assert len({bar[0] for bar in bars}) > 1
    assert max(map(len, bars)) < 60
    log, _, result = shown.rpartition(CLEAR)
    assert re.search(r"extract: 40 rows, .* in \d", log)
    assert re.search(r"^inserted +40\r$", result, re.MULTILINE)
    assert "\x1b" not in result


def test_json_is_all_that_standard_output_holds(env, tmp_path):
    """Also while the bar moves on standard error."""
    terminal = Terminal(sync(tmp_path, SLOW, "--json"), env, tmp_path / "out")
    assert CLEAR in terminal.read()
    assert json.loads((tmp_path / "out").read_text())["inserted"] == 40


@pytest.mark.parametrize(
    ("changed", "words", "drawn", "coloured"),
    [
        ({"NO_COLOR": "1"}, [], True, False),
        ({"TERM": "dumb"}, [], False, False),
        ({}, ["--quiet"], False, False),
    ],
)
def test_terminals_and_people_who_want_less(env, tmp_path, changed, words, drawn, coloured):
    terminal = Terminal([*words, *sync(tmp_path, SLOW)], {**env, **changed})
    shown = terminal.read()
    assert terminal.process.returncode == 0, shown
    assert (CLEAR in shown, "\x1b[36m" in shown) == (drawn, coloured)
    assert ("extract: 40 rows" in shown) is not bool(words)


def test_a_pipe_gets_plain_lines(env, tmp_path):
    done = subprocess.run([ELT, *sync(tmp_path, SLOW)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "extract: 40 rows" in done.stderr
    assert "extract" not in done.stdout.replace("extracted", "").replace("extract 0", "")


@pytest.mark.parametrize(("how", "code", "word"), [("^C", 130, "interrupted"), ("TERM", 143, "terminated")])
def test_an_interrupted_sync_stops_on_the_server_too(server, env, tmp_path, how, code, word):
    """The statement is cancelled, nothing is staged or merged, and the same command can be run again."""
    watch = server.connect()
    watch.autocommit = True

    def running() -> int:
        with watch.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = "
                           "'active' AND pid <> pg_backend_pid()")  # fmt: skip
            return cursor.fetchone()[0]

    terminal = Terminal(sync(tmp_path, ENDLESS, "--json"), env, tmp_path / "out")
    while not running():
        assert terminal.process.poll() is None, terminal.read()
        time.sleep(0.05)
    terminal.type("\x03") if how == "^C" else os.kill(terminal.process.pid, signal.SIGTERM)
    shown = terminal.read()
    assert terminal.process.returncode == code, shown
    assert f"elt: {word}; what was not committed was rolled back" in shown
    assert "Traceback" not in shown
    while running():  # the server may take a moment to end the statement; a hang is the time-out's
        time.sleep(0.05)
    watch.close()
    assert json.loads((tmp_path / "out").read_text())["exit_code"] == code
    assert not [path for path in (tmp_path / "stage").rglob("*") if path.is_file()]


def test_errors_are_documents_too(env, tmp_path, capsys):
    """Whatever goes wrong, --json gives one document: also where the command itself cannot be read."""
    for words, code, kind in (
        (["sync", "--json"], 2, "ConfigurationError"),
        (["nonsense", "--json"], 2, "ConfigurationError"),
        (sync(tmp_path, "SELECT 1 AS id", "--check", "row_count(min=2)", "--json"), 3, "DataError"),
        (["reset", "--destination-conn-id", "gone", "--stream", "s", "--json"], 75, "TransientError"),
    ):
        own = {**env, "AIRFLOW_CONN_GONE": "postgres://x:y@127.0.0.1:1/x"}
        done = subprocess.run([ELT, *words], env=own, capture_output=True, text=True, check=False)
        document = json.loads(done.stdout)
        assert (done.returncode, document["exit_code"], document["error"]["kind"]) == (code, code, kind)
        assert document["error"]["remedy"]
        assert document["error"]["message"] in done.stderr


def test_plan_tells_by_its_exit_code_whether_there_is_something_to_do(env, tmp_path):
    words = sync(tmp_path, "SELECT 1 AS id, now() AS at", "--cursor-column", "at")

    def plan(*more: str) -> int:
        return subprocess.run([ELT, "plan", *words[1:], *more], env=env, capture_output=True, check=False).returncode

    assert (plan(), plan("--exit-code")) == (0, 4)


def test_who_listens_hears_every_step_instead_of_the_log(caplog):
    """The listener is called when a step begins and as it goes; without one nothing changes."""
    heard = []
    with heard_by(lambda step: heard.append((step.what, step.rows))):
        progress = Progress("t: extract")
        progress.add(2_000, 3_000_000)
    progress.add(1, 1)
    Progress("elsewhere").add(1, 1)
    assert heard == [("t: extract", 0), ("t: extract", 2_000), ("t: extract", 2_001)]
    assert re.fullmatch(r"t: extract  2,001 rows  3\.0 MB  [\d,]+ rows/s  0:00", line_of(progress))
