"""Which files are garbage: a rule without a disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_elt_provider.core.load import RunIdentity, new_nonce
from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.engine.extract import stream_folder
from airflow_elt_provider.engine.retention import expired
from airflow_elt_provider.errors import ConfigurationError

ROOT = "s3://bucket/elt"
NOW = datetime(2026, 7, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
STREAM = f"rds.public.actor-{'1' * 12}"
LOAD = f"{STREAM}/{'a' * 32}"


def file(path: str, days: float = 8.0, root: str = ROOT) -> StoredFile:
    return StoredFile(f"{root}/{path}", 10, NOW - timedelta(days=days))


def gone(*files: StoredFile, root: str = ROOT) -> list[str]:
    loads = expired(files, root, WEEK, NOW)
    return [each.uri.removeprefix(f"{root}/") for load in loads for each in [*load.manifests, *load.files]]


@pytest.mark.parametrize("stream", ["rds.public.actor->raw.actor", '"映画".x', "_state", "..", "a" * 300, "-", ""])
def test_what_extract_writes_is_known_as_a_load(stream):
    run = RunIdentity("dag", "run", "task")
    folder = f"{stream_folder(stream)}/{run.load_id(stream)}"
    paths = [f"{folder}/manifest-0.json", f"{folder}/{new_nonce()}/part-00000.parquet"]
    assert gone(*map(file, paths)) == paths


@pytest.mark.parametrize("root", ["s3://bucket", "s3://bucket/", "file:///mnt/a%20b"])
def test_any_root(root):
    root = root.rstrip("/")
    assert gone(file(f"{LOAD}/manifest-0.json", root=root), root=root) == [f"{LOAD}/manifest-0.json"]


@pytest.mark.parametrize(
    "path",
    [
        "customers.csv",
        "original-data/2026/customers.csv",
        f"original-data/{'a' * 32}/customers.csv",  # folders named by an md5 are everywhere
        f"{'a' * 32}/manifest-0.json",
        f"{STREAM}/readme.txt",
        f"{STREAM}/{'a' * 31}/manifest-0.json",
        f"{STREAM}/{'A' * 32}/manifest-0.json",
        f"{LOAD}/notes.txt",
        f"{LOAD}/manifest-0.json.bak",
        f"{LOAD}/manifest.json",
        f"{LOAD}/01234567/deeper/part-0",
        f"{LOAD}/0123456/part-0",
        f"{LOAD}x/manifest-0.json",
        f"_state/{LOAD}/manifest-0.json",
        f"_state-{'1' * 12}/{'a' * 32}/manifest-0.json",
        f"prod/{LOAD}/manifest-0.json",  # the stage of another environment, further down
        f"{LOAD}/manifest-0.json\n",
    ],
)
def test_files_of_others_are_never_touched(path):
    assert gone(file(path, days=10_000)) == []
    assert gone(file(f"{LOAD}/manifest-0.json"), file(path, days=10_000)) == [f"{LOAD}/manifest-0.json"]


def test_files_of_another_root_are_never_touched():
    assert gone(file(f"{LOAD}/manifest-0.json", root="s3://bucket/elt2")) == []


def test_a_load_goes_as_a_whole():
    young, old = file(f"{LOAD}/01234567/part-1", days=6.9), file(f"{LOAD}/01234567/part-0")
    manifest = file(f"{LOAD}/manifest-0.json")
    other = file(f"{STREAM}/{'b' * 32}/manifest-0.json")
    for order in (
        [young, old, manifest, other],
        [manifest, other, old, young],
        [old, young, other, manifest],
    ):
        assert gone(*order) == [f"{STREAM}/{'b' * 32}/manifest-0.json"]
    assert gone(old, manifest) == [f"{LOAD}/manifest-0.json", f"{LOAD}/01234567/part-0"]


def test_the_retention_ends_after_its_last_moment():
    assert gone(file(f"{LOAD}/manifest-0.json", days=7)) == []
    assert gone(file(f"{LOAD}/manifest-0.json", days=7.00001)) != []


def test_manifests_go_first_newest_first_by_number():
    files = [
        file(f"{LOAD}/01234567/part-0"),
        *(file(f"{LOAD}/manifest-{number}.json") for number in (2, 10, 9)),
    ]
    assert gone(*files) == [
        *(f"{LOAD}/manifest-{number}.json" for number in (10, 9, 2)),
        f"{LOAD}/01234567/part-0",
    ]


def test_a_negative_retention_is_refused():
    with pytest.raises(ConfigurationError, match="negative"):
        expired([], ROOT, timedelta(days=-1), NOW)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.floats(0, 20)), max_size=20))
def test_either_all_files_of_a_load_go_or_none(histories):
    files = [file(f"{STREAM}/{load * 32}/0123456{part}/part", days) for load, part, days in histories]
    went = expired(files, ROOT, WEEK, NOW)
    for load in "abc":
        mine = [each for each in files if f"/{load * 32}/" in each.uri]
        taken = [each for gone in went if gone.folder.endswith(load * 32) for each in gone.files]
        old = mine and all(each.modified < NOW - WEEK for each in mine)
        assert taken == (mine if old else [])
