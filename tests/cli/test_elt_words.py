"""What the command says when its words, its numbers or its output are odd: a sentence, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_elt_provider.cli import main

ELT = Path(sys.executable).with_name("elt")
SYNC = ("sync", "--source-conn-id", "a", "--source-table", "b", "--destination-conn-id", "c", "--target-table", "d",
        "--stage", "file:///e")  # fmt: skip
RECONCILE = ("reconcile", "--source-conn-id", "a", "--source-table", "b", "--destination-conn-id", "c",
             "--target-table", "d")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*SYNC, "--table-options", "[1]"), "argument --table-options: '[1]' is no JSON object"),
        ((*SYNC, "--table-options", "null"), "'null' is no JSON object"),
        ((*SYNC, "--table-options", "{"), "argument --table-options: '{' is no JSON: Expecting"),
        ((*SYNC, "--on-schema-drift", "{"), "argument --on-schema-drift: '{' is no JSON: Expecting"),
        ((*SYNC, "--full"), "unrecognized arguments: --full"),
        ((*RECONCILE, "--max-differences", "-1"), "argument --max-differences: '-1' is no whole number from 0 on"),
        ((*RECONCILE, "--max-keys", "-1"), "--max-keys: '-1'"),
        ((*RECONCILE, "--retry-pause", "nan"), "--retry-pause: 'nan' is no number from 0"),
        (("gc", "--stage", "file:///e", "--older-than", "nan"), "--older-than: 'nan' is no number from 0 to 100,000"),
        (("gc", "--stage", "file:///e", "--older-than", "1e12"), "--older-than: '1e12'"),
        (("guess", "/e", "--max-shown", "-1"), "--max-shown: '-1'"),
        (("guess", "/nowhere-at-all"), "path='/nowhere-at-all' names files directly under /"),
    ],
)
def test_words_that_cannot_be_meant(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def packages(tmp_path):
    (tmp_path / "山.txt").write_text("apache-airflow==2.5.0\n", encoding="utf-8")
    return ("doctor", "--packages", str(tmp_path / "山.txt"))


@pytest.mark.parametrize("words", [("--help",), ("doctor", "--packages"), ("nonsense", "--json")])
def test_nobody_reads_any_more(words, packages):
    """As with other tools: nothing is said, and a shell takes it for SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([ELT, *(packages if words[0] == "doctor" else words)], stdout=writing, stderr=subprocess.PIPE,
                          check=False)  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_no_room_for_the_result(packages):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([ELT, *packages], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 75
    assert done.stderr.startswith("elt: The result cannot be written: No space left on device. Remedy: ")
    assert "Traceback" not in done.stderr


def test_a_terminal_that_speaks_ascii(packages):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    text, document = (
        subprocess.run([ELT, *packages, *more], env=env, capture_output=True, check=False) for more in ((), ("--json",))
    )
    assert (text.returncode, document.returncode) == (2, 2), text.stderr
    assert b"\\u5c71.txt" in text.stdout
    assert json.loads(document.stdout)["subjects"][0]["subject"].endswith("/山.txt")
