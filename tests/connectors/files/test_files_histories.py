"""Random histories of files, syncs, power cuts, clears and refreshes: each version of a file arrives, and once."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import shutil
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_elt_provider.connectors.duckdb.destination import DuckdbDestination
from airflow_elt_provider.connectors.duckdb.settings import DuckdbSettings
from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.connectors.files.source import FilesSource
from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.errors import ConfigurationError, DataError
from airflow_elt_provider.stages.local import LocalStage
from airflow_elt_provider.stages.s3 import S3Stage
from airflow_elt_provider.stages.uri import parse_stage_uri
from tests.contract.faults import Fuse, FusedStage, PowerCutError

EXAMPLES = 40 if os.environ.get("ELT_EXPLORE") else 3
names = st.sampled_from(["a", "b", "c", "sub/d"])
seeds = st.integers(0, 10_000)
events = st.lists(
    st.one_of(
        st.tuples(st.just("write"), names, seeds), st.tuples(st.just("write"), names, seeds),
        st.tuples(st.just("touch_up"), names, seeds), st.tuples(st.just("write_again"), names, st.just(0)),
        st.tuples(st.just("arrive_late"), names, seeds), st.tuples(st.just("delete"), names, st.just(0)),
        st.tuples(st.just("rename"), names, seeds), st.tuples(st.just("begin"), names, seeds),
        st.tuples(st.just("finish"), names, seeds), st.tuples(st.just("sync"), st.just(""), st.just(0)),
        st.tuples(st.just("sync"), st.just(""), st.just(0)), st.tuples(st.just("cut"), st.just(""), st.integers(1, 40)),
        st.tuples(st.just("clear"), st.just(""), seeds), st.tuples(st.just("refresh"), st.just(""), st.just(0)),
    ),
    min_size=5, max_size=16,
)  # fmt: skip

Rows = tuple[tuple[str, int], ...]


# --- where the files lie ---


@dataclass
class Folder:
    """Files of a folder; every write makes another version."""

    path: Path
    writes: Any = field(default_factory=itertools.count)
    tokens: dict[str, Any] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        return f"{self.path}/**/*.csv"

    def source(self) -> FilesSource:
        return FilesSource(FilesSettings("share", "file", LocalStage))

    def put(self, name: str, data: bytes, *, keep_time: bool = False, old: bool = False) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.stat().st_mtime_ns if keep_time and file.exists() else None
        file.write_bytes(data)
        if old or before:
            os.utime(file, ns=(0, 1_000_000_000 if old else before or 0))
        self.tokens[name] = next(self.writes)

    def delete(self, name: str) -> None:
        (self.path / name).unlink()
        del self.tokens[name]

    def rename(self, name: str, to: str) -> None:
        (self.path / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.path / name, self.path / to)
        del self.tokens[name]
        self.tokens[to] = next(self.writes)

    def listed(self) -> list[tuple[Any, str, Any, bytes]]:
        """Modified, name, version, content."""
        found = [(path, str(path.relative_to(self.path))) for path in self.path.rglob("*.csv")]
        return sorted((path.stat().st_mtime_ns, name, self.tokens[name], path.read_bytes()) for path, name in found)


@dataclass
class Bucket:
    """Files of a bucket; the same bytes are the same version."""

    server: Any
    name: str

    @property
    def pattern(self) -> str:
        return f"s3://{self.name}/in/**/*.csv"

    def source(self) -> FilesSource:
        def open_folder(uri: str) -> S3Stage:
            place = parse_stage_uri(uri)
            return S3Stage(self.server.client, place.bucket, place.path)

        return FilesSource(FilesSettings("aws", "s3", open_folder))

    def put(self, name: str, data: bytes, *, keep_time: bool = False, old: bool = False) -> None:
        del keep_time, old  # nobody sets the time of an object
        self.server.client().put_object(Bucket=self.name, Key=f"in/{name}", Body=data)

    def delete(self, name: str) -> None:
        self.server.client().delete_object(Bucket=self.name, Key=f"in/{name}")

    def rename(self, name: str, to: str) -> None:
        body = self.server.client().get_object(Bucket=self.name, Key=f"in/{name}")["Body"].read()
        self.put(to, body)
        self.delete(name)

    def listed(self) -> list[tuple[Any, str, Any, bytes]]:
        client, found = self.server.client(), []
        for each in client.list_objects_v2(Bucket=self.name).get("Contents", []):
            if each["Key"].endswith(".csv"):
                body = client.get_object(Bucket=self.name, Key=each["Key"])["Body"].read()
                name = each["Key"].removeprefix("in/")
                found.append((each["LastModified"], name, hashlib.sha256(body).hexdigest(), body))
        return sorted(found)


# --- what must come of it ---


@dataclass(frozen=True)
class Loaded:
    """A version of a file, and its rows."""

    name: str
    version: Any
    rows: Rows


@dataclass
class Model:
    """What the target must hold: loads in the order in which they moved the checkpoint."""

    appends: bool
    loads: list[tuple[int, list[Loaded]]] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    receipted: set[int] = field(default_factory=set)

    def known(self, upto: int | None = None) -> dict[str, Any]:
        return {each.name: each.version for _, load in self.loads[:upto] for each in load}

    def sync(self, run: int, listed: list[Loaded], known: dict[str, Any]) -> None:
        new = [each for each in listed if known.get(each.name) != each.version]
        if new:
            self.loads.append((run, new))
            self.receipted.add(run)
            self.table |= dict(itertools.chain.from_iterable(each.rows for each in new))

    def clear(self, run: int, listed: list[Loaded]) -> bool:
        """Say whether it must be refused."""
        at = next((at for at, (owner, _) in enumerate(self.loads) if owner == run), None)
        if not self.appends or run not in self.receipted:
            self.sync(run, listed, self.known())
            return False
        if at is None:
            return False  # a refresh took its place
        mine, last = self.loads[at][1], at == len(self.loads) - 1
        there = {each.name: each.version for each in listed}
        if any(each.name not in there or (not last and there[each.name] != each.version) for each in mine):
            return True
        if last:
            self.loads.pop()
            self.sync(run, listed, self.known())
        return False

    def refresh(self, run: int, listed: list[Loaded]) -> None:
        self.loads = []
        self.sync(run, listed, {})

    @property
    def rows(self) -> Counter[tuple[str, int]]:
        if not self.appends:
            return Counter(self.table.items())
        return Counter(itertools.chain.from_iterable(each.rows for _, load in self.loads for each in load))


@dataclass
class History:
    """Plays events."""

    files: Folder | Bucket
    folder: Path
    open: Any
    query: Any
    model: Model
    fuse: Fuse = field(default_factory=Fuse)
    contents: dict[str, bytes] = field(default_factory=dict)
    half: set[str] = field(default_factory=set)
    run: int = 0
    generations: Counter[int] = field(default_factory=Counter)
    values: Any = field(default_factory=lambda: itertools.count(100))

    def play(self, what: str, name: str, seed: int) -> None:
        getattr(self, what)(f"{name}.csv", seed)

    # --- files ---

    def _content(self, seed: int) -> bytes:
        keys = random.Random(seed).sample("pqrstu", seed % 3 + 1)
        return ("id,n\n" + "".join(f"{key},{next(self.values)}\n" for key in keys)).encode()

    def write(self, name: str, seed: int, **how: bool) -> None:
        self.contents[name] = self._content(seed)
        self.files.put(name, self.contents[name], **how)

    def touch_up(self, name: str, seed: int) -> None:
        """Replace in place: the same size, and the same time where that can be."""
        if name in self.contents:
            lines = self.contents[name].decode().splitlines()
            fresh = [line.split(",")[0] + f",{next(self.values)}" for line in lines[1:]]
            self.contents[name] = "\n".join([lines[0], *fresh, ""]).encode()
            self.files.put(name, self.contents[name], keep_time=True)

    def write_again(self, name: str, _: int) -> None:
        if name in self.contents:
            self.files.put(name, self.contents[name])

    def arrive_late(self, name: str, seed: int) -> None:
        self.write(name, seed, old=True)

    def delete(self, name: str, _: int) -> None:
        if self.contents.pop(name, None) is not None:
            self.files.delete(name)

    def rename(self, name: str, seed: int) -> None:
        to = f"{'xyz'[seed % 3]}.csv"
        if name in self.contents and to not in self.contents:
            self.files.rename(name, to)
            self.contents[to] = self.contents.pop(name)

    def begin(self, name: str, _: int) -> None:
        self.half.add(name)
        self.files.put(f"{name}.part", b'id,n\n"half')

    def finish(self, name: str, seed: int) -> None:
        if name in self.half and name not in self.contents:
            self.half.discard(name)
            self.contents[name] = self._content(seed)
            self.files.put(f"{name}.part", self.contents[name])
            self.files.rename(f"{name}.part", name)

    # --- syncs ---

    def listed(self) -> list[Loaded]:
        found = []
        for _, name, version, body in self.files.listed():
            rows = [line.split(",") for line in body.decode().splitlines()[1:]]
            found.append(Loaded(name, version, tuple((key, int(value)) for key, value in rows)))
        return found

    def _sync(self, run: int, *, full_refresh: bool = False) -> None:
        capture = {"new_files": {"replaced": "load"}}
        what = extraction(
            stream="s", path=self.files.pattern, capture=capture, mode="append" if self.model.appends else "merge",
            primary_key=None if self.model.appends else ["id"], column_types={"n": "int"}, full_refresh=full_refresh,
        )  # fmt: skip
        stage = FusedStage(LocalStage(self.folder / "stage"), self.fuse)
        identity = RunIdentity("d", f"run {run}", "sync", generation=self.generations[run])
        into = merging(target_table="raw.t")
        Sync(what, into, identity, self.files.source(), stage, self.open(self.fuse.tick)).execute()

    def sync(self, _: str = "", __: int = 0) -> None:
        self.run += 1
        self._sync(self.run)
        self.model.sync(self.run, self.listed(), self.model.known())

    def cut(self, _: str, moment: int) -> None:
        self.run += 1
        self.fuse.moments.clear()
        self.fuse.blow_at = moment
        with contextlib.suppress(PowerCutError):
            self._sync(self.run)
        self.fuse.blow_at = None
        self._sync(self.run)
        self.model.sync(self.run, self.listed(), self.model.known())

    def clear(self, _: str, seed: int) -> None:
        if not self.run:
            return
        run = seed % self.run + 1 if seed % 2 else self.run
        self.generations[run] += 1
        if self.model.clear(run, self.listed()):
            with pytest.raises(DataError, match="gone or replaced"):
                self._sync(run)
        else:
            self._sync(run)

    def refresh(self, _: str, __: int) -> None:
        self.run += 1
        if not self.contents:
            with pytest.raises(ConfigurationError, match="No file"):
                self._sync(self.run, full_refresh=True)
            return
        self._sync(self.run, full_refresh=True)
        self.model.refresh(self.run, self.listed())

    def check(self) -> None:
        if self.model.receipted:
            assert Counter(self.query("SELECT id, n FROM raw.t")) == self.model.rows


# --- the stories ---


def play(history: History, story: list[tuple[str, str, int]]) -> None:
    for event in story:
        history.play(*event)
        history.check()
    history.sync()
    history.check()
    before = history.model.rows
    history.sync()
    history.check()
    assert history.model.rows == before


def place_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> Folder | Bucket:
    if kind == "folder":
        return Folder(folder / "in")
    server = request.getfixturevalue("s3_server")
    name = server.create_bucket(f"elt-{uuid.uuid4().hex}")
    if kind == "versioned":
        server.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return Bucket(server, name)


def cheap(examples: int) -> Any:
    return settings(
        max_examples=examples, deadline=None, print_blob=True, database=None,
        derandomize=not os.environ.get("ELT_EXPLORE"),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["merge", "append"])
@pytest.mark.parametrize("kind", ["folder", "bucket", pytest.param("versioned", marks=pytest.mark.heavy)])
def test_whatever_happens_to_files_each_version_arrives_once(kind, mode, tmp_path, request):
    @cheap(EXAMPLES)
    @given(events)
    def tell(story):
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        database = str(folder / "lake.duckdb")

        def query(sql):
            with duckdb.connect(database) as connection:
                return connection.execute(sql).fetchall()

        def opened(observe):
            return DuckdbDestination(DuckdbSettings(database), observe=observe)

        play(History(place_of(kind, folder, request), folder, opened, query, Model(mode == "append")), story)

    tell()


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["merge", "append"])
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_so_it_does_in_postgresql(kind, mode, tmp_path, request, postgres_server):
    from airflow_elt_provider.connectors.postgres.settings import of_connection
    from airflow_elt_provider.core.connection import ConnectionParts

    @cheap(EXAMPLES)
    @given(events)
    def tell(story):
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        with postgres_server.database() as name:
            parts = ConnectionParts.parse("warehouse", postgres_server.airflow_connection(name))

            def query(sql):
                with contextlib.closing(postgres_server.connect(name)) as connection, connection.cursor() as cursor:
                    cursor.execute(sql)
                    return cursor.fetchall()

            def opened(observe):
                return PostgresDestination(of_connection(parts), observe=observe)

            play(History(place_of(kind, folder, request), folder, opened, query, Model(mode == "append")), story)

    tell()
