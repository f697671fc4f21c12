"""Whether a target was merged recently enough, asked of a real destination and of Airflow's own events."""

from __future__ import annotations

import logging

import pytest

from tests.airflow import in_process

pytestmark = pytest.mark.lowest

HEAD = "from airflow_elt_provider.sensors.freshness import FreshnessSensor\n"
TABLES = 'source_conn_id="rds", source_table="public.actor", destination_conn_id="lake", target_table="raw.actor"'
SYNC = f'sync = SyncTableOperator(task_id="sync", cursor_column="last_update", {TABLES})\n'
FRESH = f'fresh = FreshnessSensor(task_id="fresh", {TABLES}, poke_interval=0.1, timeout=0.5, {{more}})\n'


@pytest.fixture(autouse=True)
def _info(caplog):
    caplog.set_level(logging.INFO, "airflow_elt_provider")


def fresh(more, before="", **arguments):
    text = HEAD + before + FRESH.format(more=more) + ("sync >> fresh" if before else "")
    return in_process.run(text, **arguments)


def age_everything(place, hours):
    """Let the receipts be as old as that."""
    place.lake(
        f"UPDATE _elt.receipts SET receipt = json_merge_patch(receipt, json_object('started_at', "
        f"strftime((now() - INTERVAL {hours} HOUR) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S+00:00')))"
    )


def test_what_was_merged_just_now_is_fresh(place, caplog, capfd):
    left = fresh("max_age=timedelta(hours=1)", SYNC)
    assert left.state == "success"
    found = left.xcoms["fresh"]
    assert set(found) == {"stream", "as_of", "age_seconds", "proof", "load_id"}
    assert (found["stream"], found["proof"]) == ("rds.public.actor->raw.actor", "merge")
    assert found["load_id"] == left.xcoms["sync"]["load_id"]
    assert 0 <= found["age_seconds"] < 600
    said = caplog.text + "".join(capfd.readouterr())
    assert f"merged by load {found['load_id']}" in said
    assert "allowed are 1:00:00" in said


def test_nothing_was_ever_merged(place, caplog, capfd):
    assert fresh("max_age=3600").state == "failed"
    assert "not merged by any load so far" in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("more", "state", "tries"),
    [("", "failed", 1), ("soft_fail=True", "skipped", 1), ("on_stale='fail', retries=2", "failed", 1),
     ("on_stale='skip'", "skipped", 1), ("mode='reschedule', soft_fail=True", "skipped", 1)],
)  # fmt: skip
def test_what_is_too_old(place, more, state, tries, caplog, capfd):
    in_process.run(SYNC)
    age_everything(place, 5)
    left = fresh(f"max_age=timedelta(hours=4), {more}")
    assert (left.states["fresh"], left.tries["fresh"]) == (state, tries)
    assert "allowed are 4:00:00" in caplog.text + "".join(capfd.readouterr())
    assert fresh("max_age=timedelta(hours=6)").state == "success"


def test_a_run_that_found_nothing_proves_something_too(place):
    in_process.run(SYNC)
    age_everything(place, 5)
    in_process.run(SYNC)
    assert fresh("max_age=3600").state == "failed", "no receipt: the last merge is what it was"
    left = fresh("max_age=3600, proof='run'")
    assert (left.state, left.xcoms["fresh"]["proof"]) == ("success", "run")
    assert fresh("max_age=timedelta(days=1), proof='run'").xcoms["fresh"]["age_seconds"] < 600, (
        "the newest proof counts"
    )


def test_no_run_and_no_merge(place):
    text = FRESH.replace("raw.actor", "raw.nobody").format(more="max_age=60, proof='run'")
    assert in_process.run(HEAD + text).state == "failed"


def test_a_stream_by_its_name(place):
    in_process.run(SYNC.replace("cursor_column", "stream='mine', cursor_column"))
    text = 'FreshnessSensor(task_id="fresh", destination_conn_id="lake", stream="mine", max_age=3600, timeout=1)'
    assert in_process.run(HEAD + text).state == "success"


@pytest.mark.parametrize(
    ("more", "message"),
    [("max_age='soon'", "max_age='soon'"), ("max_age=1, proof='faith'", "proof='faith' is unknown"),
     ("max_age=1, on_stale='cry'", "on_stale='cry' is unknown")],
)  # fmt: skip
def test_what_cannot_be_meant_is_an_import_error(more, message):
    _, path = in_process.write(HEAD + FRESH.format(more=more))
    with pytest.raises(AssertionError) as refused:
        in_process.load(path)
    assert message in str(refused.value)


def test_a_run_is_of_a_target_that_is_known():
    _, path = in_process.write(
        HEAD + 'FreshnessSensor(task_id="t", destination_conn_id="lake", stream="x", max_age=1, proof="run")'
    )
    with pytest.raises(AssertionError, match="needs the target's name"):
        in_process.load(path)


@pytest.mark.parametrize("wrong", ["destination_conn_id='nobody'", "source_conn_id=None"])
def test_what_waiting_cannot_mend_fails_at_once(place, wrong):
    text = HEAD + f"FreshnessSensor(task_id='fresh', retries=2, **(dict({TABLES}, max_age=60) | dict({wrong})))"
    left = in_process.run(text)
    assert (left.state, left.tries["fresh"]) == ("failed", 1)
