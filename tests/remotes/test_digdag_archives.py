"""Archives of Digdag projects: read with distrust, written always the same; and which of their files hold secrets."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.digdag.archive import Archive, unpacked
from airflow_elt_provider.remotes.config_as_code.digdag.held_secrets import held_secret

LONG = "/".join(["a" * 60] * 4) + "/ü.sql"


def tar_of(*members: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    made.size = 3 if kind == tarfile.REGTYPE else 0
    return made


def test_the_same_files_are_the_same_bytes() -> None:
    one = Archive({"b.dig": b"b", "a.dig": b"a", LONG: b""}, frozenset({"b.dig"}))
    other = Archive(dict(reversed(one.files.items())), frozenset({"b.dig"}))
    assert one.packed() == other.packed()
    assert one.revision() == other.revision()
    assert unpacked(one.packed(), "x") == one
    with tarfile.open(fileobj=io.BytesIO(one.packed())) as tar:
        assert [(found.name, found.mode, found.mtime, found.uid, found.uname) for found in tar] == [
            ("a.dig", 0o644, 0, 0, ""), (LONG, 0o644, 0, 0, ""), ("b.dig", 0o755, 0, 0, "")
        ]  # fmt: skip
    assert one.packed()[4:8] == bytes(4), "gzip's own time"


@pytest.mark.parametrize(
    "changed",
    [
        Archive({"a": b"1"}, frozenset({"a"})),
        Archive({"a": b"2"}),
        Archive({"b": b"1"}),
        Archive({"a": b"1", "b": b""}),
    ],
    ids=["mode", "content", "name", "more"],
)
def test_other_files_are_another_revision(changed: Archive) -> None:
    assert changed.revision() != Archive({"a": b"1"}).revision()


def test_modes_folders_and_repetitions() -> None:
    content = tar_of(
        member("./bin/", tarfile.DIRTYPE), member("./bin/run", mode=0o6777), member("a", mode=0o777), member("a")
    )
    assert unpacked(content, "x") == Archive({"bin/run": b"xxx", "a": b"xxx"}, frozenset({"bin/run"}))


@pytest.mark.parametrize(
    "wrong",
    [
        member("../out"), member("a/../../out"), member("/etc/passwd"), member("a//b"), member("a/./b"), member("."),
        member("a\\b"), member("C:out"), member("a\nb"),
        member("a", tarfile.SYMTYPE, "/etc/passwd"), member("a", tarfile.SYMTYPE, "../b.dig"),
        member("a", tarfile.SYMTYPE, "a"), member("../a", tarfile.SYMTYPE, "x/b.dig"), member("a", tarfile.SYMTYPE, ""),
        member("a", tarfile.LNKTYPE, "b.dig"), member("a", tarfile.FIFOTYPE), member("a", tarfile.CHRTYPE),
        member("a", tarfile.BLKTYPE), member("b.dig/c"),
    ],
    ids=["up", "up-later", "absolute", "empty-part", "dot-part", "itself", "backslash", "drive", "line-feed",
         "symlink-absolute", "symlink-up",
         "symlink-itself", "symlink-from-outside", "symlink-nowhere", "hard-link", "fifo", "character-device",
         "block-device", "file-and-folder"],
)  # fmt: skip
def test_what_leads_out_is_refused(wrong: tarfile.TarInfo) -> None:
    with pytest.raises(ConfigurationError, match="The archive of project 'x'"):
        unpacked(tar_of(member("b.dig"), wrong), "project 'x'")


def test_a_link_within_the_project_is_its_file() -> None:
    """As ``digdag push`` makes them, chained, and before what they lead to."""
    content = tar_of(
        member("x/y/one.sql", tarfile.SYMTYPE, "../../bin/two"),
        member("bin/two", tarfile.SYMTYPE, "./run"),
        member("bin/run", mode=0o755),
    )
    names = ["bin/run", "bin/two", "x/y/one.sql"]
    assert unpacked(content, "x") == Archive(dict.fromkeys(names, b"xxx"), frozenset(names))


def test_many_links_to_a_large_file_are_too_large() -> None:
    large = member("large")
    large.size = 1 << 20
    content = tar_of(large, *(member(f"link{number}", tarfile.SYMTYPE, "large") for number in range(3)))
    with pytest.raises(ConfigurationError, match="more than 2 MiB"):
        unpacked(content, "x", most=2 << 20)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"no archive"), tar_of(member("a"))[:40], gzip.compress(b"\0" * 100)],
    ids=["empty", "text", "no-tar", "broken-off", "zeros"],
)
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        unpacked(content, "project 'x'")


def test_a_size_that_no_machine_has_is_refused() -> None:
    huge = tarfile.TarInfo("a")
    huge.size = 2**70
    content = gzip.compress(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ConfigurationError, match="project 'x' cannot be read"):
        unpacked(content, "project 'x'")


def test_what_is_too_large_is_refused() -> None:
    bomb = gzip.compress(bytes(3 << 20))
    assert len(bomb) < 10_000
    with pytest.raises(ConfigurationError, match="more than 2 MiB"):
        unpacked(bomb, "project 'x'", most=2 << 20)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.dig", "+load:\n  password: hunter2"),
        ("a.dig", "_export:\n  td:\n    apikey: 1/2345"),
        ("a.dig", "  - {user: me, password: 'it''s'}"),
        ("a.dig", "  sh>: load --token=abcdef --verbose"),
        ("a.yml", "password: |\n  hunter2"),
        ("a.yml", "# password: hunter2"),
        ("a.yml", "password: $hunter2$"),
        ("in.yml.liquid", "password: hunter2"),
        ("a.json", '{"user": "me", "clientSecret":"abc"}'),
        ("a.properties", "db.password=hunter2"),
        ("run.env", "PGPASSWORD=x\nMY_SECRET_KEY=abc"),
        ("q.sql", "-- postgres://me:hunter2@db/x"),
        ("key", "-----BEGIN RSA PRIVATE KEY-----\nabc"),
        ("wide.txt", "\ufeff-----BEGIN PRIVATE KEY-----"),
        ("store.P12", "x"),
    ],
    ids=["dig", "nested", "flow", "argument", "block", "comment", "dollar", "liquid", "json", "properties", "env",
         "url", "key", "utf-16", "key-store"],
)  # fmt: skip
def test_a_secret_is_seen(path: str, text: str) -> None:
    reason = held_secret(path, text.encode("utf-16" if path == "wide.txt" else "utf-8"))
    assert reason
    assert "hunter2" not in reason


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.dig", "+load:\n  password: ${secret:pg.password}"),
        ("a.dig", "  sh>: load --token=$TOKEN"),
        ("a.dig", "  url: postgres://${user}:${secret:pg.password}@db/x"),
        ("a.dig", "_secrets:\n  token: true\npassword:\ncredentials: {user: me}"),
        ("a.dig", "+passwords:\n  echo>: token or no token\n  password_column: secret_value"),
        ("in.yml.liquid", 'password: "{{ env.PGPASSWORD }}"'),
        ("a.py", "password = os.environ['PGPASSWORD']"),
        ("a.yml", "anchor: &a x\npassword: *a"),
        ("a.png", "\x00\xff\x89PNG"),
    ],
    ids=["reference", "variable", "url", "nothing-said", "other-names", "liquid", "program", "alias", "binary"],
)
def test_what_is_no_secret(path: str, text: str) -> None:
    assert held_secret(path, text.encode("latin-1")) == ""
