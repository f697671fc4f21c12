"""Snowflake ends a transaction that is idle and in others' way, and may not tell: nothing may arrive twice, or half."""

from __future__ import annotations

import re
import time

import pytest

from airflow_elt_provider.connectors.snowflake import session
from airflow_elt_provider.connectors.snowflake.destination import SnowflakeDestination
from airflow_elt_provider.errors import StaleLoadError, TransientError
from tests.connectors.staged_loads import Loads, bring_in, staged

ONE, TWO = (1, "a", None), (2, "b", None)
SILENT = {"ELT_TEST_SILENT": True}
MOMENTS = {
    "rows": r"INSERT INTO .*\"ITEM\"|MERGE INTO",
    "receipt": r"INSERT INTO .*RECEIPTS",
    "check": r"SELECT CURRENT_TRANSACTION\(\)",
    "commit": "COMMIT",
}


class Paused:
    """A worker that stops before a statement, while ``meanwhile`` is done."""

    def __init__(self, work, moment, meanwhile):
        self._work, self._pattern, self._meanwhile = work, re.compile(MOMENTS[moment]), meanwhile
        self._begun = False

    def destination(self):
        return SnowflakeDestination(self._work.settings(session_parameters=SILENT), observe=self._observe)

    def _observe(self, text):
        moved = text.startswith("UPDATE") and "CHECKPOINTS" in text
        self._begun = self._begun or moved
        if self._begun and self._meanwhile and self._pattern.match(text):
            meanwhile, self._meanwhile = self._meanwhile, None
            time.sleep(1.6)  # the emulator's "five minutes"
            meanwhile()


@pytest.fixture
def loads(tmp_path):
    return Loads(tmp_path, "raw.item")


def arrived(work):
    found = work.query("SELECT ID FROM RAW.ITEM ORDER BY 1")
    receipts = work.query(f"SELECT LOAD_ID FROM {work.dialect.state('receipts')}")
    return [row[0] for row in found], sorted(row[0] for row in receipts)


@pytest.mark.parametrize("mode", ["append", "merge"])
@pytest.mark.parametrize("moment", ["receipt", "check"])
def test_a_zombie_whose_twin_merged_meanwhile_commits_nothing(loads, work, mode, moment):
    load = staged(work.open(lambda _: None), loads.make(ONE, TWO, mode=mode), loads.stage)
    worker = Paused(work, moment, lambda: bring_in(work.open(lambda _: None), load, loads.stage))
    destination = worker.destination()
    with pytest.raises(TransientError, match="Snowflake ended transaction"):
        destination.commit(load, loads.stage, destination.prepare(load))
    assert arrived(work) == ([1, 2], [load.load_id])
    assert destination.commit(load, loads.stage, ()).inserted == 2
    assert arrived(work) == ([1, 2], [load.load_id])


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_a_zombie_whose_twin_took_the_staging_table_away_returns_its_receipt(loads, work, mode):
    load = staged(work.open(lambda _: None), loads.make(ONE, TWO, mode=mode), loads.stage)
    worker = Paused(work, "rows", lambda: bring_in(work.open(lambda _: None), load, loads.stage))
    destination = worker.destination()
    receipt = destination.commit(load, loads.stage, destination.prepare(load))
    assert receipt == work.open(lambda _: None).receipt(load.load_id)
    assert arrived(work) == ([1, 2], [load.load_id])


def test_a_zombie_whose_stream_went_on_without_it_commits_nothing(loads, work):
    late = staged(work.open(lambda _: None), loads.make(ONE, mode="append"), loads.stage)
    other = loads.make(TWO, mode="append")
    worker = Paused(work, "rows", lambda: bring_in(work.open(lambda _: None), other, loads.stage))
    destination = worker.destination()
    with pytest.raises(TransientError, match="ended transaction"):
        destination.commit(late, loads.stage, destination.prepare(late))
    assert arrived(work) == ([2], [other.load_id])
    with pytest.raises(StaleLoadError):
        destination.commit(late, loads.stage, ())


@pytest.mark.parametrize("twin", [True, False])
def test_a_late_commit_is_believed_only_with_its_receipt(loads, work, monkeypatch, twin):
    """Snowflake answers COMMIT of a transaction that is gone like any other."""
    monkeypatch.setattr(session, "PROMPT_SECONDS", 0.5)
    load = staged(work.open(lambda _: None), loads.make(ONE, mode="append"), loads.stage)
    other = load if twin else loads.make(TWO, mode="append")
    worker = Paused(work, "commit", lambda: bring_in(work.open(lambda _: None), other, loads.stage))
    destination = worker.destination()
    if twin:
        assert destination.commit(load, loads.stage, destination.prepare(load)).load_id == load.load_id
    else:
        with pytest.raises(TransientError, match="took so long"):
            destination.commit(load, loads.stage, destination.prepare(load))
    assert arrived(work) == ([1] if twin else [2], [other.load_id])


def test_a_session_commits_by_itself_again_once_it_is_lent_anew(loads, destination, seen, work):
    loads.merge(destination, ONE)
    assert destination.forget("stream") is True
    assert work.open(lambda _: None).checkpoint("stream").position is None
    assert [text for text in seen if "AUTOCOMMIT" in text] == [
        "ALTER SESSION SET AUTOCOMMIT = FALSE", "ALTER SESSION SET AUTOCOMMIT = TRUE",
    ]  # fmt: skip


def test_a_first_load_with_keys_is_a_merge_too(loads, destination, seen):
    """INSERTs of two streams into one empty table do not wait for each other; the emulator would not show it."""
    assert loads.merge(destination, ONE, TWO).inserted == 2
    loads.merge(destination, ONE, mode="append", target="raw.log")
    written = [text.split(" (")[0] for text in seen if text.startswith(("INSERT INTO", "MERGE INTO"))]
    assert [text.split('"')[0] + text.split('"')[-2] for text in written] == [
        "MERGE INTO ITEM", "INSERT INTO RECEIPTS", "INSERT INTO LOG", "INSERT INTO RECEIPTS",
    ]  # fmt: skip
