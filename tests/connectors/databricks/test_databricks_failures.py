"""What Databricks refuses, in our words and with the remedy; cancelling; logging in."""

from __future__ import annotations

import logging
import threading
import time
import traceback

import pytest

from airflow_elt_provider.connectors.databricks.destination import DatabricksDestination
from airflow_elt_provider.connectors.databricks.session import _tag
from airflow_elt_provider.connectors.databricks.settings import DatabricksSettings
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.errors import ConfigurationError, DataError, TransientError
from tests.connectors.merge_stories import ONE, TWO
from tests.connectors.staged_loads import Loads


@pytest.fixture
def loads(tmp_path):
    return Loads(tmp_path, "raw.item")


def opened(settings, **changes):
    given = {**settings, **changes}
    return DatabricksDestination(DatabricksSettings(**{**given, "token": Secret(given["token"])}))


PERMISSION = "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: User does not have"
REFUSALS = [
    ("MERGE INTO", f"{PERMISSION} MODIFY on Table 'main.raw.item'. SQLSTATE: 42501", ConfigurationError,
     "GRANT MODIFY ON TABLE main.raw.item TO"),
    ("COPY INTO", f"{PERMISSION} READ FILES on External Location 'stage'. SQLSTATE: 42501", ConfigurationError,
     "GRANT READ FILES ON EXTERNAL LOCATION stage TO"),
    ("CREATE TABLE", "[PERMISSION_DENIED] User does not have CREATE TABLE on Schema 'main._elt'. SQLSTATE: 42501",
     ConfigurationError, "GRANT CREATE TABLE ON SCHEMA main._elt TO"),
    ("COPY INTO", "[NO_PARENT_EXTERNAL_LOCATION_FOR_PATH] No location was found for 's3://b'. SQLSTATE: 42KDC",
     ConfigurationError, "READ FILES"),
    ("MERGE INTO", "[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES] CHECK constraint c (id > 5) violated. SQLSTATE: 23001",
     DataError, "constraint"),
    ("MERGE INTO", "[CAST_INVALID_INPUT] The value 'x' of the type STRING cannot be cast. SQLSTATE: 22018", DataError,
     "column_types"),
    ("MERGE INTO", "[DELTA_UNSUPPORTED_RENAME_COLUMN] Column rename is not supported. SQLSTATE: 0AKDC",
     ConfigurationError, "delta.columnMapping.mode"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "error", "kind", "remedy"), REFUSALS, ids=[kind[3] for kind in REFUSALS])
def test_refusals_name_the_remedy(server, destination, loads, pattern, error, kind, remedy):
    server.inject({"pattern": pattern, "error": error, "state": error[-5:], "times": 9})
    with pytest.raises(kind) as caught:
        loads.merge(destination, ONE)
    assert remedy in caught.value.hint
    assert error.split("]")[0] in caught.value.message
    server.inject()
    assert loads.merge(destination, ONE).inserted == 1


def test_a_conflict_that_does_not_end(server, destination, loads):
    error = {"error": "[DELTA_METADATA_CHANGED] The metadata changed. SQLSTATE: 2D521", "state": "2D521", "times": 99}
    from airflow_elt_provider.connectors.databricks import session

    pause, session._PAUSE = session._PAUSE, 0.001
    try:
        server.inject({"pattern": "MERGE INTO", **error})
        with pytest.raises(TransientError, match="METADATA_CHANGED"):
            loads.merge(destination, ONE)
    finally:
        session._PAUSE = pause


def test_a_busy_warehouse_is_waited_for(server, destination, loads):
    server.inject({"pattern": "MERGE INTO", "status": 503})
    assert loads.merge(destination, ONE).inserted == 1


def test_a_wrong_token(settings):
    with pytest.raises(ConfigurationError) as caught:
        opened(settings, token="dapi-wrong").checkpoint("stream")
    assert "check the token" in caught.value.hint
    assert "dapi-wrong" not in str(caught.value)


def test_a_server_that_is_not_there(settings):
    nobody = {**settings["options"], "_port": 9, "_retry_stop_after_attempts_count": 1}
    with pytest.raises(TransientError, match="Cannot connect to Databricks at localhost/sql"):
        opened(settings, options=nobody).checkpoint("stream")


def test_another_certificate(settings):
    strangers = {**settings["options"], "_tls_trusted_ca_file": None, "_retry_stop_after_attempts_count": 1}
    with pytest.raises(ConfigurationError) as caught:
        opened(settings, options=strangers).checkpoint("stream")
    assert "_tls_trusted_ca_file" in caught.value.hint


def test_cancel_ends_the_statement_that_runs(server, destination, loads, query):
    loads.merge(destination, ONE)
    server.inject({"pattern": "MERGE INTO", "seconds": 60})
    timer = threading.Timer(3, destination.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"stopped|cancelled"):
        loads.merge(destination, TWO)
    assert time.monotonic() - began < 30
    timer.join()
    server.inject()
    assert query("SELECT id FROM raw.item") == [(1,)]
    assert destination.checkpoint("stream").version == 1


@pytest.mark.parametrize("pattern", ["MERGE INTO", "COPY INTO", r"UPDATE .*\bepoch = 3", "ALTER TABLE"])
def test_a_statement_that_somebody_cancels_in_the_workspace(server, work, loads, query, pattern):
    """The driver says that it went well, and that it has no rows."""
    destination = work.open(lambda _: None)
    loads.merge(destination, ONE)
    server.inject({"pattern": pattern, "cancelled": True})
    wider = ("id bigint", "name text", "amount decimal(12,2)", "more text")
    changed = (*TWO, "x")
    with pytest.raises(TransientError, match="cancelled"):
        loads.merge(destination, changed, columns=wider)
    assert destination.checkpoint("stream").version == 1
    work.run("UPDATE _elt.checkpoints_dca83e717b1f64eb SET pending = NULL WHERE stream IS NOT NULL")
    loads.merge(destination, changed, columns=wider)
    assert query("SELECT id, name, more FROM raw.item ORDER BY 1") == [(1, "a", None), (2, "b", "x")]
    assert destination.checkpoint("stream").version == 2


def test_cancel_when_nothing_runs(destination):
    destination.cancel()


def test_tags_stay_in_their_comment():
    """Comments nest in Spark's SQL: one that begins in a tag must end there, too."""
    assert _tag({"run": "a */ b /* c"}) == '/* {"run": "a * / b / * c"} */ '
    assert _tag({}) == ""


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ("[PARSE_SYNTAX_ERROR] near AWS_ACCESS_KEY = 'AKIASEEN' SQLSTATE: 42601", "42601"),
        ("[TABLE_OR_VIEW_NOT_FOUND] in AWS_ACCESS_KEY = 'AKIASEEN' SQLSTATE: 42P01", "42P01"),
    ],
    ids=["syntax", "missing"],
)
def test_keys_of_the_stage_are_seen_by_nobody(server, settings, loads, caplog, tmp_path, error, state):
    """Not by observers, not in the driver's log, not in an error that quotes the statement."""

    class Bucket:
        scheme, root = "s3", "s3://bucket"

        def credentials(self):
            return {"aws_access_key_id": Secret("AKIASEEN"), "aws_secret_access_key": Secret("se'cret")}

    from airflow_elt_provider.connectors.databricks.staging import Staging

    seen = []
    given = {**settings, "token": Secret(settings["token"]), "volume": "", "credentials": "stage"}
    destination = DatabricksDestination(DatabricksSettings(**given), observe=seen.append)
    server.inject({"pattern": "COPY INTO", "error": error, "state": state})
    caplog.set_level(logging.DEBUG)

    def copy():
        with destination._warehouse.session("staging") as session:
            staging = Staging(session, destination._warehouse.settings, loads.make(ONE), Bucket(), lambda *_: None)
            clause, keys = staging._credential()
            session.copy_into(clause.join(("COPY INTO t FROM 's3://bucket/x'", " FILEFORMAT = PARQUET")), keys)

    with pytest.raises(ConfigurationError) as caught:
        copy()
    sent = next(sql for sql in server.statements() if "AKIASEEN" in sql)
    assert sent.endswith(
        "COPY INTO t FROM 's3://bucket/x' WITH (CREDENTIAL (AWS_ACCESS_KEY = 'AKIASEEN', "
        "AWS_SECRET_KEY = 'se\\'cret')) FILEFORMAT = PARQUET"
    )
    assert "AWS_ACCESS_KEY = '***'" in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    for text in (str(caught.value), told, "".join(seen), caplog.text):
        assert "AKIASEEN" not in text
        assert "cret'" not in text
    destination.close()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"http_path": ""}, "names no SQL warehouse"),
        ({"credentials": "mine"}, "elt_credentials"),
        ({"volume": "/tmp/elt"}, "elt_volume"),
    ],
)
def test_settings_that_cannot_be_meant(changes, problem):
    given = {"host": "h", "http_path": "/sql", "token": Secret("t"), **changes}
    with pytest.raises(ConfigurationError, match=problem):
        DatabricksSettings(**given)


def test_extras_of_ours():
    own = DatabricksSettings.own({"elt_claim_seconds": "60", "elt_volume": "/Volumes/a/b/c/", "other": 1})
    assert own == {"claim_seconds": 60.0, "volume": "/Volumes/a/b/c"}
    with pytest.raises(ConfigurationError, match="elt_clam"):
        DatabricksSettings.own({"elt_clam": 1})
    with pytest.raises(ConfigurationError, match="not a number"):
        DatabricksSettings.own({"elt_claim_seconds": "soon"})


def test_a_stage_that_the_warehouse_cannot_read(settings, loads):
    with pytest.raises(ConfigurationError) as caught:
        loads.merge(opened(settings, volume=""), ONE)
    assert "elt_volume" in caught.value.hint
