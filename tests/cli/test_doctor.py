"""elt doctor against real servers: what is missing is named with its remedy, and nothing is left behind."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from airflow_elt_provider.cli import main
from airflow_elt_provider.engine.doctor import examine_stage
from airflow_elt_provider.stages.local import LocalStage
from servers.postgres import PostgresServer
from servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_elt_provider.core.protocols import StoredFile

SECRET = "s3cret-of-the-poor"


class Clinic:
    """A database, its roles, and the command in this process."""

    def __init__(self, server: PostgresServer, dbname: str, monkeypatch, capsys) -> None:
        self.server, self.dbname = server, dbname
        self._patch, self._capsys = monkeypatch, capsys
        self.connect("SHOP", server.airflow_uri(dbname))
        self.connect("POOR", f"postgres://poor:{SECRET}@127.0.0.1:{server.port}/{dbname}")

    def connect(self, conn_id: str, value: str) -> None:
        self._patch.setenv(f"AIRFLOW_CONN_{conn_id}", value)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        connection = self.server.connect(self.dbname)
        with connection, connection.cursor() as cursor:
            cursor.execute(text)
            rows = cursor.fetchall() if cursor.description else []
        connection.close()
        return rows

    def doctor(self, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Return the exit code, and the findings by "subject: check"."""
        code = main(["doctor", *words, "--json"])
        said = self._capsys.readouterr()
        assert SECRET not in said.out + said.err
        document = json.loads(said.out)
        assert document["ok"] is (code == 0)
        return code, {
            f"{subject['subject']}: {finding['check']}": finding
            for subject in document["subjects"]
            for finding in subject["findings"]
        }


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer({"max_replication_slots": 1}) as server:
        connection = server.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE poor LOGIN PASSWORD '{SECRET}'")
        connection.close()
        yield server


@pytest.fixture
def clinic(server: PostgresServer, monkeypatch, capsys) -> Iterator[Clinic]:
    with server.database() as dbname:
        clinic = Clinic(server, dbname, monkeypatch, capsys)
        clinic.sql("CREATE TABLE item (id int PRIMARY KEY, name text); CREATE TABLE keyless (a int)")
        yield clinic


def verdicts(findings: dict[str, dict[str, str]], beginning: str) -> dict[str, str]:
    return {
        check.removeprefix(beginning): each["verdict"]
        for check, each in findings.items()
        if check.startswith(beginning)
    }


def test_a_healthy_journey(clinic, tmp_path):
    """Everything is well, and neither the database, nor the lake, nor the stage holds anything new."""
    clinic.connect("LAKE", f"duckdb://{tmp_path}/lake.duckdb")
    before = clinic.sql("SELECT count(*) FROM pg_class")
    words = ("--source", "shop", "--source-table", "public.item", "--capture", "wal", "--destination", "lake",
             "--destination", "shop", "--target-table", "raw.item", "--stage", f"file://{tmp_path}/stage")  # fmt: skip
    code, findings = clinic.doctor(*words)
    assert (code, {each["verdict"] for each in findings.values()}) == (0, {"ok"}), findings
    assert verdicts(findings, "source shop: public.item: ") == dict.fromkeys(
        ["read", "key", "capture full", "capture xmin", "capture fingerprint", "capture wal"], "ok"
    )
    stage = verdicts(findings, f"stage file://{tmp_path}/stage: ")
    assert list(stage) == ["write", "write unless there", "list", "read", "clock", "delete", "load from file://"]
    assert findings["packages: duckdb"]["verdict"] == "ok"
    assert clinic.sql("SELECT count(*) FROM pg_class") == before
    assert clinic.sql("SELECT count(*) FROM pg_publication") == [(0,)]
    assert [path.name for path in tmp_path.rglob("*")] == []


def test_every_missing_grant_is_named_and_helps(clinic):
    """The remedies are run to the letter; then there is nothing left to complain about."""
    clinic.sql("CREATE SCHEMA private; CREATE TABLE private.pay (id int PRIMARY KEY); CREATE SCHEMA raw; "
               "CREATE TABLE raw.item (id int)")  # fmt: skip
    words = ("--source", "poor", "--source-table", "item", "--source-table", "private.pay", "--destination", "poor",
             "--target-table", "raw.item")  # fmt: skip
    code, findings = clinic.doctor(*words)
    assert code == 2
    problems = {check: each["remedy"] for check, each in findings.items() if each["verdict"] == "problem"}
    database = f'"{clinic.dbname}"'
    assert problems == {
        "source poor: item: read": 'GRANT SELECT ON "public"."item" TO "poor"',
        "source poor: private.pay: read": 'GRANT USAGE ON SCHEMA "private" TO "poor"; '
        'GRANT SELECT ON "private"."pay" TO "poor"',
        "destination poor: schema _elt: create tables": f'GRANT CREATE ON DATABASE {database} TO "poor"; or let '
        'somebody who may run CREATE SCHEMA "_elt" AUTHORIZATION "poor"',
        "destination poor: schema raw: create tables": 'GRANT USAGE, CREATE ON SCHEMA "raw" TO "poor"',
        "destination poor: raw.item: write": 'GRANT SELECT, INSERT, UPDATE, DELETE ON "raw"."item" TO "poor"',
    }
    for remedy in problems.values():
        clinic.sql(remedy.partition("; or ")[0])
    code, findings = clinic.doctor(*words)
    assert code == 0, findings
    owner = findings["destination poor: raw.item: write"]
    assert (owner["verdict"], owner["remedy"]) == ("note", 'GRANT "elt" TO "poor"')


def test_which_captures_are_possible(clinic):
    """What is not possible is a note, until somebody asks for it."""
    words = ("--source", "poor", "--source-table", "keyless")
    clinic.sql("GRANT SELECT ON item, keyless TO poor; ALTER TABLE item ENABLE ROW LEVEL SECURITY; "
               "CREATE MATERIALIZED VIEW seen AS SELECT * FROM item; CREATE VIEW looked AS SELECT 1 AS a; "
               "GRANT SELECT ON looked TO poor")  # fmt: skip
    code, findings = clinic.doctor(*words)
    assert (code, verdicts(findings, "source poor: keyless: ")) == (0, {
        "read": "ok", "key": "note", "capture full": "ok", "capture xmin": "ok", "capture fingerprint": "note",
        "capture wal": "note",
    })  # fmt: skip
    assert findings["source poor: keyless: capture wal"]["remedy"].startswith('ALTER ROLE "poor" REPLICATION')
    code, findings = clinic.doctor(*words, "--capture", "fingerprint", "--source-table", "looked")
    assert (code, findings["source poor: keyless: capture fingerprint"]["verdict"]) == (2, "problem")
    assert findings["source poor: looked: capture xmin"]["detail"].endswith("A view has no row versions.")
    _, findings = clinic.doctor("--source", "poor", "--source-table", "item")
    assert findings["source poor: item: row security"]["remedy"] == 'ALTER ROLE "poor" BYPASSRLS'


def test_the_log_needs_role_slot_and_publication(clinic):
    words = ("--source", "poor", "--source-table", "item", "--capture", "wal", "--publication", "ours")
    check = "source poor: item: capture wal"
    clinic.sql("GRANT SELECT ON item TO poor")
    assert clinic.doctor(*words)[1][check]["remedy"].startswith('ALTER ROLE "poor" REPLICATION')
    clinic.sql("ALTER ROLE poor REPLICATION")
    try:
        code, findings = clinic.doctor(*words)
        assert (code, findings["source poor: capture wal"]["verdict"]) == (2, "ok")
        assert 'CREATE PUBLICATION "ours" FOR TABLE "public"."item"' in findings[check]["remedy"]
        clinic.sql('CREATE PUBLICATION "ours" FOR TABLE "public"."item"')
        code, findings = clinic.doctor(*words)
        assert (code, findings[check]["detail"].endswith("published by ours")) == (0, True)
        clinic.sql("SELECT pg_create_logical_replication_slot('other', 'pgoutput')")
        assert "max_replication_slots" in clinic.doctor(*words)[1][check]["remedy"]
    finally:
        clinic.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; ALTER ROLE poor NOREPLICATION"
        )


def test_what_is_not_there_or_does_not_answer(clinic, monkeypatch, server):
    clinic.connect("GONE", "postgres://poor:x@127.0.0.1:1/x")
    clinic.connect("POOR", f"postgres://poor:{SECRET}-wrong@127.0.0.1:{server.port}/{clinic.dbname}")
    code, findings = clinic.doctor("--source", "shop", "--source-table", "public.itme", "--source", "gone",
                                   "--source", "poor", "--source", "nobody", "--stage", "ftp://x")  # fmt: skip
    assert code == 2
    assert "public.item" in findings["source shop: public.itme: exists"]["remedy"]
    assert "that the server runs" in findings["source gone: connect"]["remedy"]
    assert "password" in findings["source poor: connect"]["remedy"]
    assert "AIRFLOW_CONN_NOBODY" in findings["source nobody: connect"]["remedy"]
    assert findings["stage ftp://x: open"]["verdict"] == "problem"


def test_without_arguments_every_connection_is_looked_at(clinic, monkeypatch, tmp_path):
    clinic.connect("LAKE", json.dumps({"conn_type": "duckdb", "host": f"{tmp_path}/lake.duckdb"}))
    clinic.connect("ODD", "mongo://somewhere/x")
    clinic.connect("BROKEN", "{not json")
    clinic.connect("SHARE", "fs://")
    clinic.connect("SYNCS", "eltfivetran://key:secret@127.0.0.1:1/https")
    code, findings = clinic.doctor()
    assert code == 2
    problems = {check for check, each in findings.items() if each["verdict"] == "problem"}
    assert problems == {"connection broken: read", "remote syncs: connect"}
    assert "not public.item, public.keyless" in findings["source poor: tables"]["detail"]
    assert findings["source shop: tables"]["detail"] == "may read all 2 tables of the database"
    assert findings["destination lake: open"]["verdict"] == "ok"
    assert findings["connection share: fs"]["remedy"] == "elt doctor --stage URI --stage-conn-id share"


def test_a_lake_is_tried_and_left_alone(clinic, tmp_path):
    lake = tmp_path / "lake.duckdb"
    duckdb.connect(str(lake)).close()
    clinic.connect("LAKE", f"duckdb://{lake}")
    code, findings = clinic.doctor("--destination", "lake")
    assert (code, findings["destination lake: write"]["verdict"]) == (0, "ok")
    with duckdb.connect(str(lake)) as connection:
        schemas = "SELECT count(*) FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main'"
        assert connection.execute(schemas).fetchall() == [(0,)]
    lake.write_text("no database at all")
    code, findings = clinic.doctor("--destination", "lake")
    assert (code, "is not a DuckDB database" in findings["destination lake: connect"]["detail"]) == (2, True)


def test_a_bucket_is_tried_right_by_right(clinic):
    """A denied action is named with the resource that a policy has to name; whatever happens, nothing is left."""
    with S3Server() as store:
        bucket = store.create_bucket("company-elt")
        clinic.connect("AWS", store.airflow_connection())
        words = ("--stage", f"s3://{bucket}/prod", "--stage-conn-id", "aws")
        assert clinic.doctor(*words)[0] == 0
        for method, action, check in (
            ("PUT", "s3:PutObject on arn:aws:s3:::company-elt/prod/elt-doctor-", "write"),
            ("GET", "s3:GetObject on arn:aws:s3:::company-elt/prod/elt-doctor-", "read"),
            ("POST", "s3:DeleteObject on arn:aws:s3:::company-elt", "delete"),
        ):
            place = "/file" if method == "GET" else ".*"
            store.refuse(
                method, f".*elt-doctor.*{place}" if method != "POST" else ".*", status=403, code="AccessDenied"
            )
            code, findings = clinic.doctor(*words)
            store.heal()
            finding = findings[f"stage s3://{bucket}/prod: {check}"]
            assert (code, finding["verdict"]) == (2, "problem"), method
            assert f"allow {action}" in finding["remedy"]
        left = store.client().list_objects_v2(Bucket=bucket).get("Contents", [])
        assert {entry["Key"].split("/")[-1] for entry in left} == {"file", "claim"}  # of the time DELETE was denied


def test_files_are_listed_and_one_is_read(clinic, tmp_path):
    clinic.connect("SHARE", "fs://")
    for name in ("a.csv", "b.csv", "c.csv.part"):
        (tmp_path / name).write_text("id\n1\n")
    path, none = f"{tmp_path}/*", f"{tmp_path}/*.tsv"
    code, findings = clinic.doctor("--source", "share", "--source-path", path, "--source-path", none)
    assert code == 0, findings
    listed = findings[f"source share: {path}: list"]["detail"]
    assert listed.startswith("2 files; 1 files left alone")
    assert findings[f"source share: {path}: read"]["verdict"] == "ok"
    assert findings[f"source share: {none}: list"]["verdict"] == "note"
    code, findings = clinic.doctor("--source", "share", "--source-path", "s3://elsewhere/*.csv")
    assert (code, "s3://" in findings["source share: connect"]["detail"]) == (2, True)


class OddStore:
    """A folder that is not what it should be.

    :param ahead: seconds by which its clock is ahead of ours.
    """

    def __init__(self, folder: Path, *, ahead: float = 0, careless: bool = False, forgetful: bool = False) -> None:
        self._stage, self._ahead = LocalStage(folder), timedelta(seconds=ahead)
        self._careless, self._forgetful = careless, forgetful

    def __getattr__(self, name):
        return getattr(self._stage, name)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self._stage.put_if_absent(path, data) or self._careless

    def list(self, path: str = "") -> Iterator[StoredFile]:
        for file in () if self._forgetful else self._stage.list(path):
            yield replace(file, modified=file.modified + self._ahead)


@pytest.mark.parametrize(
    ("odd", "check", "verdict", "words"),
    [
        ({"ahead": 120}, "clock", "note", " s behind that of"),
        ({"ahead": -400}, "clock", "problem", " s ahead of that of"),
        ({"careless": True}, "write unless there", "problem", "written twice"),
        ({"forgetful": True}, "list", "problem", "does not list what was just written"),
    ],
)
def test_a_store_that_cannot_be_relied_on_is_found_out(tmp_path, odd, check, verdict, words):
    found = {finding.check: finding for finding in examine_stage(OddStore(tmp_path, **odd))}
    assert (found[check].verdict, words in found[check].detail) == (verdict, True), found[check]
    assert found[check].remedy


def test_text_says_each_check_and_its_remedy(clinic, capsys):
    assert main(["doctor", "--source", "poor", "--source-table", "item"]) == 2
    said = capsys.readouterr().out
    assert (
        "  problem  item: read: role 'poor' may not read the table\n           remedy: GRANT SELECT ON \"public" in said
    )
    assert said.endswith("1 problem\n")
    assert "\x1b" not in said


def test_airflow_is_not_needed(clinic):
    code = (
        "import sys; sys.modules['airflow'] = None; "
        "from airflow_elt_provider.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "doctor", "--source", "shop", "--source-table", "item"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "all is well" in done.stdout) == (0, True), done.stderr


# --- what was asked is looked at, or refused ---


@pytest.mark.parametrize(
    "words",
    [
        ("--source-table", "item"),
        ("--source-path", "/nowhere/x.csv"),
        ("--capture", "wal"),
        ("--destination", "shop", "--publication", "ours"),
        ("--source", "shop", "--target-table", "raw.item"),
        ("--stage-conn-id", "aws"),
        ("--packages", "list.txt", "--source", "shop"),
        ("--source", "shop", "--capture", "cursr"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(words, capsys):
    assert main(["doctor", *words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "ConfigurationError"


def test_a_list_that_is_no_text(tmp_path, capsys):
    (tmp_path / "list").write_bytes(b"\x7fELF\xd0\xff")
    assert main(["doctor", "--packages", f"{tmp_path}/list"]) == 2
    assert "list is no text" in capsys.readouterr().err


def test_captures_are_not_waved_through(clinic):
    """Without a table nothing can be said of them; of a cursor nothing is known, and no lie told of row security."""
    code, findings = clinic.doctor("--source", "shop", "--capture", "cursor", "--capture", "fingerprint")
    assert (code, findings["source shop: capture cursor"]["verdict"]) == (2, "problem")
    assert "--source-table" in findings["source shop: capture fingerprint"]["remedy"]
    clinic.sql("GRANT SELECT ON item TO poor; ALTER TABLE item ENABLE ROW LEVEL SECURITY")
    words = ("--source-table", "item", "--capture", "cursor", "--capture", "fingerprint")
    code, findings = clinic.doctor("--source", "poor", *words)
    assert (code, findings["source poor: item: capture cursor"]["verdict"]) == (0, "note")
    assert "with deletes='ignore'" in findings["source poor: item: capture fingerprint"]["detail"]


def test_a_publication_that_is_not_there_is_said_to_be_created(clinic):
    words = ("--source", "shop", "--source-table", "item", "--capture", "wal", "--publication", "ours")
    code, findings = clinic.doctor(*words)
    said = "there is no publication ours; the first extract runs CREATE PUBLICATION"
    assert (code, said in findings["source shop: item: capture wal"]["detail"]) == (0, True)
    clinic.sql("CREATE PUBLICATION ours FOR TABLE keyless")
    _, findings = clinic.doctor(*words)
    assert "ours lacks the table; the first extract runs ALTER" in findings["source shop: item: capture wal"]["detail"]


def test_tables_are_read_for_real(clinic):
    """What stands behind a view, or a foreign table, is no secret to the one who looks."""
    clinic.sql("CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing; "
               "CREATE FOREIGN TABLE far (id int) SERVER nowhere; "
               "CREATE VIEW mine WITH (security_invoker) AS SELECT * FROM item; "
               "GRANT SELECT ON mine, far TO poor")  # fmt: skip
    code, findings = clinic.doctor("--source", "poor", "--source-table", "mine", "--source-table", "far",
                                   "--source-table", "a.b.c.d")  # fmt: skip
    assert (code, verdicts(findings, "source poor: ")) == (
        2, {"connect": "ok", "TLS": "ok", "mine: read": "problem", "far: read": "problem", "a.b.c.d: read": "problem"}
    )  # fmt: skip
    assert "permission denied for table item" in findings["source poor: mine: read"]["detail"]


def test_a_target_that_no_table_can_have_is_the_target_s_problem(clinic):
    code, findings = clinic.doctor("--destination", "shop", "--target-table", "a.b.c.d")
    assert (code, findings["destination shop: a.b.c.d: write"]["verdict"]) == (2, "problem")
    assert findings["destination shop: checkpoints"]["verdict"] == "ok"


def test_a_lake_that_somebody_holds_is_told_at_once(clinic, tmp_path):
    """The connection would wait for ten minutes, and twice."""
    duckdb.connect(f"{tmp_path}/lake.duckdb").close()
    clinic.connect("LAKE", f"duckdb://{tmp_path}/lake.duckdb")
    with (tmp_path / "lake.duckdb.elt-lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, findings = clinic.doctor("--destination", "lake")
    assert (code, list(verdicts(findings, "destination lake: "))) == (2, ["connect"])
    assert "waited 2 s for the file" in findings["destination lake: connect"]["detail"]


def test_files_are_no_tables(clinic, tmp_path):
    """What one of the sources can be asked is well; what none can is not."""
    clinic.connect("SHARE", "fs://")
    (tmp_path / "a.csv").write_text("id\n1\n")
    files, tables = ("--source-path", f"{tmp_path}/*.csv"), ("--source-table", "item", "--capture", "xmin")
    assert clinic.doctor("--source", "share", "--source", "shop", *files, *tables)[0] == 0
    code, findings = clinic.doctor("--source", "share", *files, *tables)
    assert (code, findings["sources: --source-table"]["verdict"]) == (2, "problem")
    code, findings = clinic.doctor("--source", "shop", *files, *tables)
    assert (code, findings["sources: --source-path"]["verdict"]) == (2, "problem")
