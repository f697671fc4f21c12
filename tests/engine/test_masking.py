"""Hashed and redacted columns: no value of theirs leaves the source's process."""

from __future__ import annotations

import hashlib
import hmac
import logging
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_elt_provider.core.buckets import BucketKind, Buckets
from airflow_elt_provider.core.checkpoint import Position
from airflow_elt_provider.core.masking import KeyedHash, Masks
from airflow_elt_provider.core.protocols import ChangeSet
from airflow_elt_provider.core.request import extraction
from airflow_elt_provider.core.schema import Column, TableSchema
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.engine.masking import masked
from airflow_elt_provider.errors import ConfigurationError
from tests.contract.world import World

pytestmark = pytest.mark.lowest

KEY = Secret("correct horse battery staple")
KEYS = {"privacy": KEY}
HASHED = {"hash_columns": {"email": "privacy"}, "keys": KEYS}
CURSOR = {"capture": "cursor", "cursor_column": "updated_at"}
PEOPLE = """
CREATE TABLE person (
    id int PRIMARY KEY, email text, born date, photo bytea, updated_at timestamptz DEFAULT now() - interval '1 hour'
);
INSERT INTO person VALUES (1, 'ada@example.com', 'infinity', '\\x00ff'), (2, 'ada@example.com', '1815-12-10', NULL),
    (3, NULL, NULL, ''), (4, 'grace@example.com', '0044-03-15 BC', '\\x61'), (5, '', NULL, NULL)
"""


def expected(value: str) -> str:
    return hmac.new(KEY.reveal().encode(), value.encode(), hashlib.sha256).hexdigest()


def everything_written(world: World) -> bytes:
    """Return all that lies on the stage, files read as tables besides."""
    stage = world.stage()
    found = b""
    for file in stage.list():
        data = stage.read(file.uri)
        found += data
        if file.uri.endswith(".parquet"):
            found += repr(pq.read_table(pa.BufferReader(data)).to_pylist()).encode()
    return found


# --- values ---


@given(st.lists(st.none() | st.text()), st.text(min_size=1))
def test_the_hash_is_hmac_sha_256_and_null_stays_null(values, key):
    try:
        key.encode()
        values = [value if value is None else value.encode("utf-8", "replace").decode() for value in values]
    except UnicodeEncodeError:
        return
    made = KeyedHash(Secret(key))
    wanted = [None if v is None else hmac.new(key.encode(), v.encode(), hashlib.sha256).hexdigest() for v in values]
    assert made.texts(pa.array(values, pa.string())).to_pylist() == wanted
    assert [None if v is None else made.text(v) for v in values] == wanted


def test_slices_and_many_alike():
    rng = random.Random(0)
    values = pa.array([rng.choice([None, "a", "b", "ü" * 100]) for _ in range(5000)], pa.string())
    made = KeyedHash(KEY)
    assert made.texts(values[1234:4321]).to_pylist() == [
        None if value is None else expected(value) for value in values.to_pylist()[1234:4321]
    ]


def test_a_key_is_not_shown():
    masks = Masks.of(extraction(stream="s", source_table="t", hash_columns={"email": "privacy"}), KEYS)
    assert KEY.reveal() not in repr(masks) + repr(masks.identity)


# --- requests ---

REFUSED = {
    "both hashed and redacted": {"hash_columns": {"a": "k"}, "redact_columns": ["a"]},
    "not read at all": {"hash_columns": {"a": "k"}, "exclude_columns": ["a"]},
    "masked, and not read": {"redact_columns": ["a"], "columns": ["b"]},
    "masked column is text": {"redact_columns": ["a"], "column_types": {"a": "int"}},
    "make all keys one": {"redact_columns": ["a"], "primary_key": ["a", "b"]},
    "is the cursor": {"hash_columns": {"a": "k"}, "cursor_column": "a"},
    "something else than a text": {"redact_columns": {"a": None}},
    "different names": {"redact_columns": ["a", "a"]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_masks_that_cannot_be_meant(message):
    with pytest.raises(ConfigurationError, match=message):
        extraction(stream="s", source_table="t", **REFUSED[message])


@pytest.mark.parametrize("keys", [{}, {"privacy": Secret("")}])
def test_a_connection_without_a_password_is_no_key(keys):
    with pytest.raises(ConfigurationError, match=r"'privacy' has no password"):
        Masks.of(extraction(stream="s", source_table="t", hash_columns={"email": "privacy"}), keys)


def test_a_key_that_is_redacted_is_refused(world):
    world.run_at_source(PEOPLE)
    world.table = "person"
    with pytest.raises(ConfigurationError, match=r"'id' is part of the key and redacted"):
        world.sync(redact_columns=["id"])
    with pytest.raises(ConfigurationError, match="hash_columns names column 'emial'"):
        world.sync(hash_columns={"emial": "privacy"}, keys=KEYS)


# --- what a source gives ---


def changes(**more) -> ChangeSet:
    schema = TableSchema((Column("id", pa.string()), Column("email", pa.string(), source_type="varchar(9)")), ("id",))
    given = {"streams": [], "position": Position("full", "s"), "complete": False, "cursor": "", "backfill": {},
             "interval": None, "facts": {}, **more}  # fmt: skip
    return ChangeSet(schema=schema, **given)


def hidden(*columns: str, **more) -> Masks:
    return Masks.of(
        extraction(stream="s", source_table="t", hash_columns=dict.fromkeys(columns, "privacy"), **more), KEYS
    )


def test_keys_that_are_gone_and_keys_that_are_there_are_masked_alike():
    ops = pa.record_batch({"id": ["7", "8"], "_elt_op": ["d", "k"]})
    given = masked(changes(deletes=[iter([ops])], keys=[iter([ops])]), hidden("id"))
    for streams in (given.deletes, given.keys):
        assert next(streams[0]).to_pydict() == {"id": [expected("7"), expected("8")], "_elt_op": ["d", "k"]}


def test_backfills_and_exceptional_values_are_masked():
    rows = pa.record_batch(
        {"id": ["1", "2"], "email": ["a", "b"], "_elt_exact": ['{"email": "c", "other": "d"}', '{"email": "e"}']}
    )
    given = masked(changes(streams=[iter([rows])], backfill={"email": "x", "id": "y"}), hidden("email"))
    assert given.backfill == {"email": expected("x"), "id": "y"}
    assert masked(changes(backfill={"email": None}), hidden("email")).backfill == {"email": None}
    batch = next(given.streams[0]).to_pydict()
    assert batch["_elt_exact"] == ['{"other": "d"}', None]
    assert batch["email"] == [expected("a"), expected("b")]
    assert given.schema.column("email") == Column("email", pa.string())


def test_buckets_of_a_masked_key_are_not_taken():
    by_id = Buckets(BucketKind.MD5, ("id",), 2)
    with pytest.raises(AssertionError, match="masked column 'id'"):
        masked(changes(buckets=by_id), hidden("id"))
    assert masked(changes(buckets=Buckets(BucketKind.ALL, ())), hidden("id")).buckets
    assert masked(changes(buckets=by_id), hidden("email")).buckets == by_id


def test_a_masked_column_that_is_no_text_is_not_written():
    rows = pa.record_batch({"id": ["1"], "email": [5]})
    with pytest.raises(AssertionError, match="arrived as int64"):
        next(masked(changes(streams=[iter([rows])]), hidden("email")).streams[0])


# --- the whole journey ---


@pytest.fixture
def people(world: World) -> World:
    world.run_at_source(PEOPLE)
    world.table = "person"
    return world


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_values_are_hashed_wherever_they_go(people, caplog):
    caplog.set_level(logging.DEBUG)
    masks = {"hash_columns": {"email": "privacy", "born": "privacy", "photo": "privacy"}, "keys": KEYS}
    people.sync(**masks)
    assert people.target_rows("id, email, born, photo") == sorted([
        ("1", expected("ada@example.com"), expected("infinity"), expected("\\x00ff")),
        ("2", expected("ada@example.com"), expected("1815-12-10"), None),
        ("3", None, None, expected("\\x")),
        ("4", expected("grace@example.com"), expected("0044-03-15 BC"), expected("\\x61")),
        ("5", expected(""), None, None),
    ], key=str)  # fmt: skip
    written = everything_written(people)
    for secret in (b"example.com", b"1815-12-10", b"infinity", KEY.reveal().encode()):
        assert secret not in written
        assert secret.decode() not in caplog.text


def test_the_same_value_is_the_same_in_every_table(people):
    people.run_at_source("CREATE TABLE login (id int PRIMARY KEY, who varchar(40)); "
                         "INSERT INTO login VALUES (1, 'ada@example.com')")  # fmt: skip
    people.sync(**HASHED)
    people.table, people.target = "login", "raw.login"
    people.sync(hash_columns={"who": "privacy"}, keys=KEYS, rename={"who": "email"})
    assert people.target_rows("email") == [(expected("ada@example.com"),)]


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_redaction(people):
    people.sync(redact_columns={"email": "-", "born": ""})
    people.target = "raw.other"
    people.sync(redact_columns=["email"], stream="other")
    assert people.target_rows("email") == [("***",)] * 4 + [(None,)]
    people.target = "raw.item"
    assert people.target_rows("id, email, born") == [
        ("1", "-", ""), ("2", "-", ""), ("3", None, None), ("4", "-", ""), ("5", "-", None),
    ]  # fmt: skip
    assert b"ada@" not in everything_written(people)


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_a_hashed_key_is_matched_and_deleted(people):
    mirror = {"deletes": "hard", "hash_columns": {"id": "privacy"}, "keys": KEYS}
    people.sync(**mirror)
    people.run_at_source("DELETE FROM person WHERE id = 2; UPDATE person SET email = 'new' WHERE id = 3")
    result = people.sync(**mirror)
    assert (result.inserted, result.updated, result.deleted) == (0, 1, 1)
    assert people.target_rows("id") == sorted((expected(str(at)),) for at in (1, 3, 4, 5))


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_a_hashed_key_under_fingerprint_capture(people):
    mirror = {"capture": "fingerprint", "deletes": "hard", "keys": KEYS,
              "hash_columns": {"id": "privacy", "email": "privacy"}}  # fmt: skip
    people.sync(**mirror)
    people.run_at_source("DELETE FROM person WHERE id = 2; UPDATE person SET email = 'new' WHERE id = 3; "
                         "INSERT INTO person VALUES (7, 'seven')")  # fmt: skip
    result = people.sync(**mirror)
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 1)
    assert people.target_rows("id") == sorted((expected(str(at)),) for at in (1, 3, 4, 5, 7))
    assert people.sync(**mirror).extracted == 0
    assert b"@example.com" not in everything_written(people)


@pytest.mark.parametrize("world", ["duckdb", "postgres"], indirect=True)
def test_the_default_of_an_added_column_is_hashed_as_its_rows_are(people):
    people.sync(**HASHED, **CURSOR)
    people.run_at_source(
        "ALTER TABLE person ADD COLUMN vip bool DEFAULT true, ADD COLUMN score numeric(5,2) DEFAULT 1; "
        "INSERT INTO person VALUES (6, 'x', NULL, NULL, now() - interval '1 minute')"
    )
    more = {**HASHED, "hash_columns": {"email": "privacy", "vip": "privacy", "score": "privacy"}}
    people.sync(**more, **CURSOR)
    assert set(people.target_rows("vip, score")) == {(expected("t"), expected("1.00"))}
    assert len(people.target_rows("id")) == 6


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"keys": {"privacy": Secret("another key, as long as that one")}, "hash_columns": {"email": "privacy"}},
         r"hashed with key [0-9a-f]{8}, now 'email' is hashed with key"),
        ({}, r"hashed with key [0-9a-f]{8}, now 'email' is read as it is"),
        ({"redact_columns": ["email"]}, "now 'email' is redacted"),
        ({**HASHED, "redact_columns": ["born"]}, "so far column 'born' was read as it is"),
    ],
)  # fmt: skip
def test_another_key_or_another_mask_is_refused_until_everything_is_read_anew(people, other, message):
    people.sync(**HASHED, **CURSOR)
    with pytest.raises(ConfigurationError, match=message) as refused:
        people.sync(**other, **CURSOR)
    assert "full_refresh" in str(refused.value)
    assert "another key" not in str(refused.value)
    assert people.sync(full_refresh=True, **other, **CURSOR).extracted == 5
    assert people.sync(**other, **CURSOR).extracted == 0


def test_a_retry_with_another_key_does_not_use_the_files_of_the_first(people):
    job = people.job(run_id="same", **HASHED)
    from airflow_elt_provider.engine.extract import Extract
    from airflow_elt_provider.engine.start import StreamState

    def ref(keys):
        return Extract(job.extraction, job.run, people.source(), job.stage, StreamState(), keys).execute()

    assert ref(KEYS).uri == ref(KEYS).uri
    assert ref(KEYS).uri != ref({"privacy": Secret("another key, as long as that one")}).uri


def test_a_renamed_column_takes_its_hashes_with_it(people):
    people.sync(**HASHED, **CURSOR)
    people.run_at_source("ALTER TABLE person RENAME email TO mail")
    for masks in ({}, {"redact_columns": ["mail"]}):
        with pytest.raises(ConfigurationError, match=r"column 'email' was hashed with key .* now 'mail' is"):
            people.sync(**masks, **CURSOR)
    people.sync(hash_columns={"mail": "privacy"}, keys=KEYS, **CURSOR)
    assert people.target_rows("id, mail") == people.target_rows("id, email")


def test_a_short_key_is_warned_about(people, caplog):
    people.sync(hash_columns={"email": "privacy"}, keys={"privacy": Secret("hunter2")})
    assert "'privacy' is a short key" in caplog.text
    assert "hunter2" not in caplog.text
