"""CSV files that go straight from where they lie into PostgreSQL's COPY, and those that are staged after all."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from airflow_elt_provider.connectors.postgres.destination_session import PostgresServer as Sessions
from airflow_elt_provider.connectors.postgres.settings import of_connection
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.manifest import Manifest, ManifestRef
from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.core.staged_file import Role
from airflow_elt_provider.errors import DataError, TransientError

if TYPE_CHECKING:
    from servers.postgres import PostgresServer
    from tests.connectors.files.conftest import Bucket, Files

ORDERS = 'order_id,書名,amt\n1,猫,10\n2,"a ""b"", c",\n3,,"30"\n4,"",-1\n'
SHOWN = [("1", "猫", 10), ("2", 'a "b", c', None), ("3", None, 30), ("4", "", -1)]
LOAD: dict[str, Any] = {"primary_key": ["order_id"], "column_types": {"amt": "bigint"}}
ROWS = "SELECT * FROM orders ORDER BY 1"


def went_straight(files: Files) -> bool:
    """Whether nothing but manifests is on the stage, and they list files of the customer's."""
    uris = [file.uri for file in files.stage.list() if "/_state/" not in file.uri]
    if not all(uri.endswith(".json") for uri in uris):
        return False
    manifests = [Manifest.from_bytes(files.stage.read(uri), ManifestRef(uri)) for uri in uris]
    return all(file.role is Role.EXTERNAL for manifest in manifests for file in manifest.files)


def test_a_file_goes_straight_into_copy(files: Files, warehouse: Any) -> None:
    """First into a target that is not there yet, then by key into one that is."""
    files.destination, query = warehouse
    path = files.write("orders.csv", ORDERS)
    first = files.sync(**LOAD)
    assert query(ROWS) == SHOWN
    assert (first.extracted, first.inserted, first.bytes_staged) == (4, 4, path.stat().st_size)
    files.write("orders.csv", ORDERS.replace("猫", "犬"))
    assert files.sync(**LOAD).updated == 1
    assert query(ROWS) == [("1", "犬", 10), *SHOWN[1:]]
    assert went_straight(files)
    assert path.read_text() == ORDERS.replace("猫", "犬")


def test_other_names_orders_delimiters_and_gzip(files: Files, warehouse: Any) -> None:
    """Several files at once, where no key can be in two of them; each with its own order of columns."""
    files.destination, query = warehouse
    files.write("a.csv", "id,at\n1,2020-01-01 12:30:00\n")
    files.write("b.csv.gz", "at,id\r\n,2\r\n")
    (files.folder / "original-data/c.csv.gz").write_bytes(gzip.compress(b"id,at\n3,\n") + gzip.compress(b"4,\n"))
    files.sync(f"{files.path}/*", mode="append", column_types={"id": "int", "at": "timestamp"}, rename={"at": "time"})
    assert query("SELECT id, time::text FROM orders ORDER BY 1") == [
        (1, "2020-01-01 12:30:00"), (2, None), (3, None), (4, None),
    ]  # fmt: skip
    files.write("d.tsv", "id\tat\n5\t2020-01-02 00:00:00\n")
    types = {"id": "int", "at": "timestamp"}
    files.sync(f"{files.path}/*.tsv", target="tabs", mode="append", column_types=types)
    assert query("SELECT id, at::text FROM tabs") == [(5, "2020-01-02 00:00:00")]
    assert went_straight(files)


def test_only_new_files_go_straight_too(files: Files, warehouse: Any) -> None:
    """The checkpoint is that of any other load; a column that a file lacks is NULL."""
    files.destination, query = warehouse
    load: dict[str, Any] = {"capture": "new_files", "mode": "append", "column_types": {"id": "int"}}
    files.write("a.csv", "id,name\n1,a\n")
    files.sync(**load)
    files.write("b.csv", "id\n2\n")
    assert files.sync(**load).inserted == 1
    assert files.sync(**load).extracted == 0
    assert query("SELECT id, name FROM orders ORDER BY 1") == [(1, "a"), (2, None)]
    assert went_straight(files)


@pytest.mark.parametrize(
    ("name", "body", "parameters"),
    [
        ("a.csv", b"id,name\n1,a\n", {"max_quarantined_rows": 1}),
        ("a.csv", b"id,name\n1,a\n", {"redact_columns": ["name"]}),
        ("a.csv", b"id,name\n1,a\n", {"hash_columns": {"name": "key"}, "keys": {"key": Secret("k" * 32)}}),
        ("a.csv", b"id,name\n1,a\n", {"exclude_columns": ["name"]}),
        ("a.csv", b"id,name\n1,a\n", {"columns": ["id"]}),
        ("a.csv", "id,name\n1,猫\n".encode("cp932"), {"file_format": {"charset": "cp932"}}),
        ("a.csv", b"id;name\n1;'a'\n", {"file_format": {"delimiter": ";", "quote": "'"}}),
        ("a.csv", b"# x\nid,name\n1,a\n", {"file_format": {"skip_lines": 1}}),
        ("a.csv", b"id,name\n1,NA\n", {"file_format": {"null_values": ["NA"]}}),
        ("a.csv", b"\nid,name\n1,a\n", {}),
        ("a.csv", b'id,name\n1,5" pipe\n', {}),
        ("a.csv", b"id,name\n 1,a\n\n", {}),
        ("a.csv", b"id,name\n0x1,a\n\r2,b\n", {}),
    ],
    ids=["quarantine", "redacted", "hashed", "left out", "chosen", "charset", "quote", "skipped lines", "NULLs",
         "empty line first", "bare quote", "empty line", "odd ends"],
)  # fmt: skip
def test_what_copy_would_read_otherwise_is_staged(
    files: Files, warehouse: Any, name: str, body: bytes, parameters: dict[str, Any]
) -> None:
    """No load fails because it cannot go straight."""
    files.destination, query = warehouse
    files.write(name, body)
    assert files.sync(mode="append", column_types={"id": "int"}, **parameters).inserted >= 1
    assert query("SELECT id FROM orders")[0] == (1,)
    assert not went_straight(files)


def test_two_files_with_a_key_are_staged(files: Files, warehouse: Any) -> None:
    """One key may be in both."""
    files.destination, query = warehouse
    files.write("a.csv", "id,name\n1,a\n")
    files.write("b.csv", "id,name\n2,b\n")
    files.sync(primary_key="id")
    assert query(ROWS) == [("1", "a"), ("2", "b")]
    assert not went_straight(files)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("id,n\n1,5\n2,many\n", r"original-data/a\.csv, line 3: column 'n' has 'many', which is no int64"),
        ("id,n\n1,5\n2,+7\n", "line 3: column 'n' has '\\+7'"),
        ("id,n\n1,5\n2\n", "line 3: 1 fields instead of 2"),
        ('id,n\n1,5\n"2,6\n', r"a\.csv, line 3|quotes do not match"),
        ("id,n\n1,5\n2,9999999999999999999\n", "line 3: column 'n'"),
    ],
    ids=["no number", "a sign", "too few fields", "open quote", "too large"],
)
def test_a_bad_row_is_named_by_file_and_line(files: Files, warehouse: Any, body: str, said: str) -> None:
    """As it is where files are staged, whoever found it."""
    files.destination, query = warehouse
    files.write("a.csv", body)
    with pytest.raises(DataError, match=said):
        files.sync(mode="append", column_types={"n": "bigint"})
    assert query("SELECT to_regclass('orders')") == [(None,)]


def test_a_row_that_only_the_server_refuses_is_the_same_error(files: Files, warehouse: Any) -> None:
    """PostgreSQL's text has no NUL, which is UTF-8."""
    files.destination, _ = warehouse
    files.write("a.csv", b"id,name\n1,a\n2,b\x00\n")
    with pytest.raises(DataError, match=r"(?s)invalid byte sequence.*0x00"):
        files.sync(mode="append")


def test_from_a_bucket(bucket: Bucket, warehouse: Any) -> None:
    """A small object is asked for once; a large one, once more, only in the version that was listed."""
    bucket.destination, query = warehouse
    bucket.write("orders.csv", ORDERS)
    before = len(bucket.server.requests)
    bucket.sync(**LOAD)
    assert query(ROWS) == SHOWN
    asked = bucket.server.requests[before:]
    assert [method for method, path in asked if path.endswith(".csv")] == ["GET"]
    many = "order_id,書名,amt\n" + "".join(f"{at},{'本' * 30},{at}\n" for at in range(50_000))
    bucket.write("orders.csv", many)
    assert len(many.encode()) > 4 << 20
    assert bucket.sync(**LOAD).inserted == 50_000 - 4
    assert went_straight(bucket)


def test_an_object_that_was_replaced_since_it_was_listed_is_refused(
    bucket: Bucket, postgres_server: PostgresServer
) -> None:
    """Nothing of it counts; the next try lists it as it is."""
    from airflow_elt_provider.connectors.postgres.destination import PostgresDestination

    many = "order_id,書名,amt\n" + "".join(f"{at},{'本' * 30},{at}\n" for at in range(50_000))
    bucket.write("orders.csv", many)
    moments: list[str] = []

    def watch(sql: str) -> None:
        if "TABLE" in sql and "_elt_2" in sql and not moments:
            moments.append(sql)
            bucket.write("orders.csv", ORDERS)

    with postgres_server.database() as name:
        parts = ConnectionParts.parse("warehouse", postgres_server.airflow_connection(name))
        bucket.destination = PostgresDestination(of_connection(parts), observe=watch)
        with pytest.raises(TransientError, match="changed while it was read"):
            bucket.sync(run_id="a", **LOAD)
        assert moments
        assert bucket.sync(run_id="a", **LOAD).inserted == 4


def test_a_body_that_breaks_off_is_an_error_of_the_moment(bucket: Bucket, warehouse: Any) -> None:
    """Nothing of it counts."""
    bucket.destination, query = warehouse
    many = "order_id,書名,amt\n" + "".join(f"{at},{'本' * 30},{at}\n" for at in range(50_000))
    bucket.write("orders.csv", many)
    bucket.server.cut("GET", r"orders\.csv$", when="body", skip=1)
    with pytest.raises(TransientError):
        bucket.sync(run_id="a", **LOAD)
    bucket.server.heal()
    assert bucket.sync(run_id="a", **LOAD).inserted == 50_000
    assert query("SELECT count(*) FROM orders") == [(50_000,)]


def test_told_to_stop_a_copy_stops(files: Files, postgres_server: PostgresServer) -> None:
    """In the middle of a file."""
    from airflow_elt_provider.connectors.postgres.destination import PostgresDestination

    files.write("orders.csv", "id\n" + "1234567\n" * 1_000_000)
    with postgres_server.database() as name:
        parts = ConnectionParts.parse("warehouse", postgres_server.airflow_connection(name))

        def watch(sql: str) -> None:
            if sql.startswith("COPY"):
                files.source.cancel()

        files.destination = PostgresDestination(of_connection(parts), observe=watch)
        with pytest.raises(TransientError, match="cancelled"):
            files.sync(mode="append")


def test_one_connection_serves_what_follows_in_quick_succession(postgres_server: PostgresServer) -> None:
    """Unless something went wrong in it, or the server ended it; and never beyond the block."""

    def pid(sessions: Sessions) -> int:
        with sessions.session("testing") as session:
            return session.connection.info.backend_pid

    with postgres_server.database() as name:
        parts = ConnectionParts.parse("warehouse", postgres_server.airflow_connection(name))
        sessions = Sessions(of_connection(parts), None)
        assert pid(sessions) != pid(sessions)
        with sessions.kept():
            first = pid(sessions)
            assert pid(sessions) == first
            with sessions.session("testing") as session:
                session.execute("CREATE TABLE undone (id int)")
            with sessions.session("testing") as session:
                assert session.query("SELECT to_regclass('undone')") == [(None,)]
            with pytest.raises(ZeroDivisionError), sessions.session("testing"):
                raise ZeroDivisionError
            second = pid(sessions)
            assert second != first
            other = Sessions(of_connection(parts), None)
            with other.session("testing") as session:
                session.query(f"SELECT pg_terminate_backend({second}, 5000)")
            assert pid(sessions) != second
        assert pid(sessions) != second


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("id,n\n1,5\n2,6\n1,7\n1,8\n", "primary_key id: 1 "),
        ("id,n\n1,5\n,6\n", "primary_key id: 1 "),
    ],
    ids=["twice", "NULL"],
)
def test_a_broken_key_of_a_first_load_is_counted(files: Files, warehouse: Any, body: str, said: str) -> None:
    """The target's key finds it; what is wrong is asked then."""
    files.destination, query = warehouse
    files.write("a.csv", body)
    with pytest.raises(DataError, match=said):
        files.sync(primary_key="id")
    assert query("SELECT to_regclass('orders')") == [(None,)]
    files.write("a.csv", "id,n\n1,5\n")
    assert files.sync(primary_key="id").inserted == 1
