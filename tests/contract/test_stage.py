"""What every stage promises."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_elt_provider.connectors.files.direct import StreamsFiles
from airflow_elt_provider.core.protocols import StoredFile
from airflow_elt_provider.engine.doctor import examine_stage
from airflow_elt_provider.engine.gc import collect
from airflow_elt_provider.errors import ConfigurationError, DataError
from tests.contract.candidates import STAGES
from tests.contract.stages_at_work import StageAtWork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_elt_provider.core.protocols import Stage

REPOSITORY = Path(__file__).parents[2]
TWINS = 8
BIG = 12 << 20


@pytest.fixture(scope="module", params=STAGES, ids=lambda candidate: candidate.name)
def candidate(request):
    return request.param


@pytest.fixture(scope="module")
def at_work(candidate, tmp_path_factory) -> Iterator[StageAtWork]:
    with candidate.open(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _declared(request, candidate) -> None:
    reason = candidate.exceptions.get(request.node.originalname)
    if reason:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture
def stage(at_work: StageAtWork) -> Stage:
    return at_work.stage


@pytest.fixture
def load() -> str:
    """The folder of a load that nobody else has."""
    return f"rds.public.actor-{uuid.uuid4().hex[:12]}/{uuid.uuid4().hex}"


def put(stage: Stage, path: str, data: bytes) -> str:
    with stage.workspace() as folder:
        part = folder / "part"
        part.write_bytes(data)
        uri = stage.put(part, path)
        assert not part.exists()
    return uri


def names(stage: Stage, path: str) -> list[str]:
    return [file.uri.removeprefix(f"{stage.root}/") for file in stage.list(path)]


def test_a_part_comes_back_as_it_was(stage: Stage, load: str) -> None:
    data = os.urandom(1000)
    uri = put(stage, f"{load}/0123abcd/part-00000.parquet", data)
    assert uri == f"{stage.root}/{load}/0123abcd/part-00000.parquet"
    assert stage.exists(uri)
    assert stage.read(uri) == data
    with stage.fetch(uri) as path:
        assert path.read_bytes() == data


def test_a_part_of_many_pieces(stage: Stage, load: str) -> None:
    data = os.urandom(BIG)
    uri = put(stage, f"{load}/0123abcd/part-00000.parquet", data)
    with stage.fetch(uri) as path:
        assert path.read_bytes() == data


def test_an_empty_file(stage: Stage, load: str) -> None:
    assert stage.read(put(stage, f"{load}/0123abcd/part-0", b"")) == b""


@pytest.mark.parametrize("size", [100, BIG])
def test_put_never_overwrites(stage: Stage, load: str, size: int) -> None:
    uri = put(stage, f"{load}/part", b"first")
    with stage.workspace() as folder:
        second = folder / "second"
        second.write_bytes(bytes(size))
        with pytest.raises(DataError, match="exists already"):
            stage.put(second, f"{load}/part")
    assert stage.read(uri) == b"first"


def test_put_if_absent(stage: Stage, load: str) -> None:
    assert stage.put_if_absent(f"{load}/manifest-0.json", b"first")
    assert not stage.put_if_absent(f"{load}/manifest-0.json", b"second")
    assert stage.read(f"{stage.root}/{load}/manifest-0.json") == b"first"


def test_one_name_does_not_stand_for_another(stage: Stage, load: str) -> None:
    for name in (
        "a b",
        "a+b",
        "a%20b",
        "A B",
        "映画",
        "a#b?c",
        "c\\d",
        "\N{PILE OF POO}",
        "it's",
        'x"y',
        "ü",
        "u\u0308",
    ):
        assert stage.put_if_absent(f"{load}/{name}", name.encode())
    listed = {file.uri: stage.read(file.uri) for file in stage.list(load)}
    assert len(set(listed.values())) == len(listed) == 12
    assert all(stage.exists(uri) for uri in listed)
    stage.delete(list(listed))
    assert not names(stage, load)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//b", "", ".", "a/./b", ".elt-x", "a\0b", "a/"])
def test_a_path_stays_below_the_root(stage: Stage, path: str) -> None:
    with pytest.raises(ConfigurationError, match="below a stage's root"):
        stage.put_if_absent(path, b"")
    with pytest.raises(ConfigurationError, match="below a stage's root"):
        stage.put(Path("/nowhere"), path)


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "a//b", "a/./b", "a\0b"])
def test_a_listed_folder_is_below_the_root(stage: Stage, path: str) -> None:
    with pytest.raises(ConfigurationError, match="below a stage's root"):
        list(stage.list(path))


def test_a_uri_of_another_stage_is_refused(stage: Stage) -> None:
    for uri in (
        f"{stage.root}/../x",
        f"{stage.root}x/y",
        "s3://another/x",
        "file:///etc/passwd",
        "gs://b/x",
        "x",
    ):
        for method in (
            stage.read,
            stage.exists,
            lambda each: stage.delete([each]),
            lambda each: stage.fetch(each).__enter__(),
        ):
            with pytest.raises(ConfigurationError):
                method(uri)


def test_what_is_not_there(stage: Stage, load: str) -> None:
    uri = f"{stage.root}/{load}/manifest-0.json"
    assert not stage.exists(uri)
    with pytest.raises(FileNotFoundError) as raised:
        stage.read(uri)
    assert raised.value.filename
    with pytest.raises(FileNotFoundError), stage.fetch(uri):
        pass
    stage.delete([uri])
    stage.delete([])
    assert not names(stage, load)


def test_list_tells_sizes_and_times_below_a_folder_only(stage: Stage, load: str) -> None:
    put(stage, f"{load}/b/part", b"xyz")
    stage.put_if_absent(f"{load}/a", b"")
    stage.put_if_absent(f"{load}x/a", b"")
    with stage.workspace() as folder:
        (folder / "under way").write_bytes(b"x")
        listed = list(stage.list(load))
        assert not any(".elt-" in file.uri for file in stage.list())
    assert [(file.uri, file.bytes) for file in listed] == [
        (f"{stage.root}/{load}/a", 0), (f"{stage.root}/{load}/b/part", 3),
    ]  # fmt: skip
    assert all(abs(datetime.now(UTC) - file.modified) < timedelta(minutes=1) for file in listed)
    assert [file for file in stage.list() if f"/{load}/" in file.uri] == listed


def test_delete_twice(stage: Stage, load: str) -> None:
    uris = [put(stage, f"{load}/0123abcd/part-{number}", b"x") for number in range(3)]
    stage.delete(uris[:2])
    stage.delete(uris[:2])
    assert [file.uri for file in stage.list(load)] == uris[2:]


def test_many_files(stage: Stage, load: str) -> None:
    for number in range(1005):
        assert stage.put_if_absent(f"{load}/{number:04}", b"x")
    listed = list(stage.list(load))
    assert [file.uri[-4:] for file in listed] == [f"{number:04}" for number in range(1005)]
    stage.delete([file.uri for file in listed])
    assert not names(stage, load)


def test_a_workspace_is_removed_whatever_happens(stage: Stage) -> None:
    with pytest.raises(RuntimeError, match="mine"), stage.workspace() as folder:  # noqa: PT012
        (folder / "sub").mkdir()
        (folder / "sub" / "x").write_bytes(b"x")
        raise RuntimeError("mine")
    assert not folder.exists()


def test_threads_share_a_stage(stage: Stage, load: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for part in range(10):
                data = f"{number} {part}".encode()
                assert stage.read(put(stage, f"{load}/{number}/{part}", data)) == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(names(stage, load)) == 40


def test_a_file_put_while_its_folder_is_pruned_stays(stage: Stage, load: str) -> None:
    stop, pruned = threading.Event(), []

    def prune() -> None:
        while not stop.is_set():
            stage.put_if_absent(f"{load}/0123abcd/other", b"x")
            stage.delete([f"{stage.root}/{load}/0123abcd/other"])
        pruned.append(True)

    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        for number in range(100):
            uri = f"{stage.root}/{load}/0123abcd/{number}"
            assert stage.put_if_absent(f"{load}/0123abcd/{number}", b"x")
            assert stage.exists(uri)
            stage.delete([uri])
    finally:
        stop.set()
        pruner.join()
    assert pruned


# --- processes ---


@contextmanager
def process(at_work: StageAtWork, what: str, path: str, file: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.contract.stage_process", what, path, str(file), *at_work.recipe]
    with subprocess.Popen(command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def release(running: subprocess.Popen[str]) -> None:
    assert running.stdin
    running.stdin.write("\n")
    running.stdin.flush()


@pytest.mark.parametrize("what", ["put_if_absent", "put"])
def test_of_twin_processes_one_wins(at_work: StageAtWork, load: str, tmp_path: Path, what: str) -> None:
    contents = [bytes([number]) * 300_000 for number in range(TWINS)]
    path = f"{load}/manifest-0.json"
    with ExitStack() as stack:
        twins = []
        for number, content in enumerate(contents):
            (tmp_path / str(number)).write_bytes(content)
            twins.append(stack.enter_context(process(at_work, what, path, tmp_path / str(number))))
        for twin in twins:
            assert twin.stdout.readline() == "ready\n"
        for twin in twins:
            release(twin)
        outcomes = [twin.stdout.readline() for twin in twins]
    assert sorted(outcomes) == ["False\n"] * (TWINS - 1) + ["True\n"]
    assert at_work.stage.read(f"{at_work.stage.root}/{path}") == contents[outcomes.index("True\n")]


@pytest.mark.parametrize("after", [0.02, 0.1, 0.35])
def test_a_killed_process_leaves_whole_files_only(
    at_work: StageAtWork, load: str, tmp_path: Path, after: float
) -> None:
    stage, file = at_work.stage, tmp_path / "file"
    file.write_bytes(os.urandom(BIG))
    with process(at_work, "storm", f"{load}/0123abcd", file) as running:
        assert running.stdout.readline() == "ready\n"
        release(running)
        time.sleep(after)
        running.kill()
        running.wait()
    for found in stage.list(load):
        assert found.bytes == BIG
        assert stage.read(found.uri) == file.read_bytes()
    stage.delete([found.uri for found in stage.list(load)])


# --- garbage ---


def test_garbage_of_loads_goes_and_the_rest_stays(stage: Stage, load: str) -> None:
    strangers = [
        f"{load.split('/', maxsplit=1)[0]}/readme.txt",
        f"{load}/notes.txt",
        f"_state/{load}/manifest-0.json",
        "customer/data.csv",
    ]
    for path in strangers:
        stage.put_if_absent(path, b"mine")
    ours = [f"{load}/manifest-0.json", f"{load}/0123abcd/part-00000.parquet"]
    for path in ours:
        stage.put_if_absent(path, b"12345")

    def left() -> set[str]:
        return {path for path in [*strangers, *ours] if stage.exists(f"{stage.root}/{path}")}

    assert collect(stage, timedelta(days=7)).files == 0
    assert left() == {*strangers, *ours}
    result = collect(stage, timedelta(days=7), now=datetime.now(UTC) + timedelta(days=8))
    assert left() == set(strangers)
    assert result.files >= 2
    assert result.bytes >= 10
    stage.delete([f"{stage.root}/{path}" for path in strangers])


class Recording:
    """A stage that remembers what it was asked to delete."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self.deleted = stage, []

    def __getattr__(self, name):
        return getattr(self._stage, name)

    def list(self, path: str = "") -> Iterator[StoredFile]:
        return self._stage.list(path)

    def delete(self, uris) -> None:
        self.deleted += uris
        self._stage.delete(uris)


def test_manifests_go_before_what_they_list(stage: Stage, load: str) -> None:
    for name in ("0123abcd/part-0", "manifest-0.json", "manifest-1.json"):
        stage.put_if_absent(f"{load}/{name}", b"x")
    recording = Recording(stage)
    collect(recording, now=datetime.now(UTC) + timedelta(days=8))
    mine = [uri.rsplit(f"{load}/")[1] for uri in recording.deleted if load in uri]
    assert mine == ["manifest-1.json", "manifest-0.json", "0123abcd/part-0"]


def test_the_doctor_finds_it_well_and_leaves_nothing(stage: Stage) -> None:
    before = list(stage.list())
    assert {finding.verdict for finding in examine_stage(stage)} == {"ok"}
    assert list(stage.list()) == before


def test_a_file_is_streamed_in_the_version_that_was_listed(stage: Stage, load: str) -> None:
    assert isinstance(stage, StreamsFiles)
    path = f"{load}/customers own.csv"
    data = os.urandom(1 << 20) * 9
    assert stage.put_if_absent(path, data)
    (file,) = stage.list(load)
    with stage.stream(file) as body:
        assert b"".join(iter(lambda: body.read(700_000), b"")) == data
    stage.delete([file.uri])
    with pytest.raises(FileNotFoundError), stage.stream(file) as body:
        body.read(1)
    assert stage.put_if_absent(path, data[:-1] + b"x")
    with pytest.raises(FileNotFoundError), stage.stream(file) as body:
        body.read(1)
