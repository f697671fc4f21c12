"""The shared folder: its file systems, its permissions and what killed tasks leave in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_elt_provider.core.layout import WORK_PREFIX
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.stages import no_replace
from airflow_elt_provider.stages.local import LocalStage
from airflow_elt_provider.stages.work_folders import disk_errors

REPOSITORY = Path(__file__).parents[2]
WAYS = ["by_link", "by_rename", "by_lock", "publish"]
ROOT = os.geteuid() == 0
CAN_MOUNT = ROOT and shutil.which("unshare") and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


@pytest.fixture
def root(tmp_path):
    return tmp_path / "stage"


@pytest.fixture
def stage(root):
    return LocalStage(root)


def run(code, *command):
    """Run `code` in a process of its own and return what it prints."""
    done = subprocess.run(
        [*command, sys.executable, "-c", textwrap.dedent(code)],
        cwd=REPOSITORY, check=False, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- where ---


def test_a_path_and_its_uri_are_the_same_stage(tmp_path):
    folder = tmp_path / "a b" / "ステージ 100%"
    one, other = LocalStage(folder), LocalStage(LocalStage(folder).root)
    assert one.root == other.root
    assert one.root.endswith("/a%20b/%E3%82%B9%E3%83%86%E3%83%BC%E3%82%B8%20100%25")
    assert one.put_if_absent("x", b"1")
    assert other.read(f"{other.root}/x") == b"1"
    assert (folder / "x").read_bytes() == b"1"


@pytest.mark.parametrize("root", ["stage", "./stage", "~/stage", "file:stage", "file://stage", "file://host/stage", ""])
def test_a_folder_that_workers_cannot_share_is_refused(root):
    with pytest.raises(ConfigurationError, match=r"Remedy: (give the absolute path|write file:///)"):
        LocalStage(root)


@pytest.mark.parametrize("root", ["/", "file:///", "/mnt/../etc", "file:///mnt/%2e%2e/etc", "/mnt/\0"])
def test_a_folder_that_is_none_of_its_own_is_refused(root):
    with pytest.raises(ConfigurationError, match="not a folder of its own"):
        LocalStage(root)


def test_an_encoded_escape_is_refused(stage):
    for escape in ("%2e%2e/x", "a/%2e%2e/%2e%2e/x", "a/../../x"):
        with pytest.raises(ConfigurationError):
            stage.read(f"{stage.root}/{escape}")


def test_making_a_stage_touches_no_disk(root, stage):
    assert not list(stage.list())
    assert stage.collect_garbage(timedelta(0)) == ()
    assert not stage.exists(f"{stage.root}/x")
    assert not root.exists()


def test_names_that_are_no_unicode_are_listed(root, stage):
    root.mkdir()
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    (file,) = stage.list()
    assert file.uri.endswith("/caf%E9")
    assert stage.read(file.uri) == b"x"


def test_links_are_not_listed(root, stage):
    root.mkdir()
    (root / "file").symlink_to("/etc/passwd")
    (root / "folder").symlink_to("/etc")
    assert not list(stage.list())


# --- how files get there ---


@pytest.mark.parametrize("way", WAYS)
def test_each_way_publishes_once(tmp_path, way):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    publish = getattr(no_replace, way)
    assert publish(tmp_path / "one", tmp_path / "target")
    assert not publish(tmp_path / "two", tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target", "two"]
    assert (tmp_path / "target").read_text() == "one"


def test_a_lock_is_waited_for(tmp_path):
    (tmp_path / "one").write_text("one")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    waiting = threading.Thread(target=no_replace.by_lock, args=(tmp_path / "one", tmp_path / "target"))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    assert not (tmp_path / "target").exists()
    os.close(folder)
    waiting.join()
    assert (tmp_path / "target").exists()


def test_a_folder_that_comes_and_goes_is_no_file_in_the_way(tmp_path):
    folder, stop = tmp_path / "a" / "b", threading.Event()

    def prune():
        while not stop.is_set():
            for path in (folder, folder.parent):
                with contextlib.suppress(FileNotFoundError, OSError):
                    path.rmdir()
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                folder.parent.mkdir()
                folder.mkdir()

    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        for _ in range(4000):
            with contextlib.suppress(FileNotFoundError):
                no_replace.make_folder(folder)
    finally:
        stop.set()
        pruner.join()


def test_a_link_whose_answer_nfs_lost_was_ours(tmp_path):
    (tmp_path / "one").write_text("one")
    os.link(tmp_path / "one", tmp_path / "target")
    assert no_replace.by_link(tmp_path / "one", tmp_path / "target")
    assert not (tmp_path / "one").exists()


def test_a_name_taken_by_a_dangling_link_is_taken(tmp_path):
    (tmp_path / "target").symlink_to("nowhere")
    for way in WAYS:
        (tmp_path / way).write_text("x")
        assert not getattr(no_replace, way)(tmp_path / way, tmp_path / "target")


def test_a_file_of_another_file_system_is_copied(root, stage):
    with tempfile.NamedTemporaryFile(dir="/dev/shm", delete=False) as file:
        file.write(b"x" * 1000)
    try:
        uri = stage.put(Path(file.name), "a/b")
        assert not Path(file.name).exists()
    finally:
        Path(file.name).unlink(missing_ok=True)
    assert stage.read(uri) == b"x" * 1000
    assert [path.name for path in root.iterdir()] == ["a"]


def test_putting_renames_and_does_not_copy(stage, root):
    with stage.workspace() as folder:
        assert folder.parent == root
        (folder / "part").write_bytes(b"x")
        inode = (folder / "part").stat().st_ino
        stage.put(folder / "part", "a/part")
    assert (root / "a/part").stat().st_ino == inode


def test_files_and_folders_obey_the_umask(stage, root):
    before = os.umask(0o027)
    try:
        stage.put_if_absent("a/b", b"x")
    finally:
        os.umask(before)
    assert (root / "a").stat().st_mode & 0o777 == 0o750
    assert (root / "a/b").stat().st_mode & 0o777 == 0o640


def test_a_part_that_is_not_there_is_said_to_be_missing(stage, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        stage.put(tmp_path / "nowhere", "a/b")


def test_empty_folders_go_with_their_last_file(stage, root):
    for path in ("a/b/c/1", "a/b/c/2", "a/x"):
        stage.put_if_absent(path, b"")
    stage.delete([f"{stage.root}/a/b/c/1"])
    assert (root / "a/b/c").is_dir()
    stage.delete([f"{stage.root}/a/b/c/2"])
    assert [path.name for path in (root / "a").iterdir()] == ["x"]
    stage.delete([f"{stage.root}/a/x"])
    assert root.is_dir()
    assert not list(root.iterdir())


# --- refusals ---


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "stage").write_text("")
    stage = LocalStage(tmp_path / "stage")
    with pytest.raises(ConfigurationError, match="not a folder"), stage.workspace():
        pass
    with pytest.raises(ConfigurationError, match="not a folder"):
        stage.put_if_absent("x", b"")
    stage = LocalStage(tmp_path)
    with pytest.raises(ConfigurationError, match="not a folder"):
        stage.put_if_absent("stage/x", b"")


def test_a_link_to_nowhere_in_the_way(tmp_path):
    (tmp_path / "stage").symlink_to("nowhere")
    with pytest.raises(ConfigurationError, match="in the way"):
        LocalStage(tmp_path / "stage").put_if_absent("a/b", b"")


def test_a_name_that_is_too_long(stage):
    with pytest.raises(ConfigurationError, match="too long"):
        stage.put_if_absent("x" * 300, b"")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN])
def test_a_network_folder_that_is_away_is_transient(number):
    with pytest.raises(TransientError, match="/mnt/elt"), disk_errors(Path("/mnt/elt")):
        raise OSError(number, os.strerror(number))


def test_an_error_of_something_else_passes_through_a_workspace(stage):
    with pytest.raises(ConnectionResetError), stage.workspace():
        raise ConnectionResetError(errno.ECONNRESET, "the source")


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_is_not_ours(mode):
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        (folder / "file").write_text("")
        folder.chmod(mode)
        code = f"""
            import os
            from airflow_elt_provider.errors import ConfigurationError
            from airflow_elt_provider.stages.local import LocalStage
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            def attempt(call):
                try:
                    call()
                except ConfigurationError as error:
                    print(error)
            stage = LocalStage({str(folder)!r})
            attempt(lambda: stage.workspace().__enter__())
            attempt(lambda: stage.put_if_absent("x", b""))
            attempt(lambda: stage.delete([stage.root + "/file"]))
        """
        told = run(code).splitlines()
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert len(told) == 3
    assert all("may not use" in line and "Permission denied" in line and "Remedy: let all" in line for line in told)


@pytest.mark.skipif(not CAN_MOUNT, reason="needs root, to mount a small file system")
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_disk_that_takes_no_more(tmp_path, what):
    code = f"""
        import subprocess
        from pathlib import Path
        from airflow_elt_provider.errors import ConfigurationError
        from airflow_elt_provider.stages.local import LocalStage
        root = Path({str(tmp_path)!r}, "stage")
        root.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(root)], check=True)
        if {what!r} == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        stage = LocalStage(root)
        def attempt(call):
            try:
                call()
            except ConfigurationError as error:
                print(error)
        def write():
            with stage.workspace() as folder:
                (folder / "part").write_bytes(bytes(1 << 20))
        attempt(write)
        attempt(lambda: stage.put_if_absent("a", bytes(1 << 20)))
        source = Path({str(tmp_path)!r}, "part")
        source.write_bytes(bytes(1 << 20))
        attempt(lambda: stage.put(source, "b"))
        assert source.exists()
        assert not list(root.iterdir()), list(root.iterdir())
    """
    told = run(code, "unshare", "-m").splitlines()
    assert len(told) == 3
    words = "No space left on" if what == "full" else "Read-only file system"
    assert all(words in line and f"{tmp_path}/stage" in line and "Remedy: " in line for line in told)


# --- what killed tasks leave ---


def test_dead_work_is_found_and_removed(stage, root, tmp_path):
    code = f"""
        import sys, time
        from airflow_elt_provider.stages.local import LocalStage
        with LocalStage({str(root)!r}).workspace() as folder:
            (folder / "part").write_bytes(b"x")
            print("ready", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    (left,) = root.iterdir()
    assert left.name.startswith(WORK_PREFIX)
    assert not list(stage.list())
    assert stage.collect_garbage(timedelta(days=7)) == ()
    long_ago = time.time() - 8 * 86_400
    os.utime(left, (long_ago, long_ago))
    assert stage.collect_garbage(timedelta(days=7)) == ()  # its part is young: somebody writes
    os.utime(left / "part", (long_ago, long_ago))
    (root / f"{WORK_PREFIX}draft").write_bytes(b"x")
    assert stage.collect_garbage(timedelta(days=7)) == (str(left),)
    assert [path.name for path in root.iterdir()] == [f"{WORK_PREFIX}draft"]
