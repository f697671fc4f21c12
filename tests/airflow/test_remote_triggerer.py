"""Remote syncs on a real Airflow: what kills, clears, marks and time limits do to a task and to its job."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.processes import LOOPBACK, ReservedPort
from tests.airflow.in_process import AIRFLOW_2
from tests.airflow.real import real_airflow
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.http_fake import Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
only_3 = pytest.mark.skipif(AIRFLOW_2, reason="by the API, or by what only Airflow 3 keeps")

MANY = 6 if AIRFLOW_2 else 50
ALONE = (
    "cleared", "failed", "success", "taken", "late", "blocking_failed", "blocking_killed", "wrong_config",
    "broken_system", "seen", "in_vain", "not_minded", "guarded", "guarded_blocking", "unreachable", "refused",
    "ill_written",
)  # fmt: skip
QUIET = "hush9f3c"
"""Part of every secret, so that one search finds any of them."""
CLIENT_SECRET = f"{QUIET}client"
KEPT_LOGS = Path(__file__).parents[2] / ".cache" / "failed-airflow"
RUN = "r"


@dataclass
class World:
    """An Airflow, and the Airbyte it drives; ``other`` is one that a single test may trouble."""

    airflow: object
    airbyte: FakeAirbyte
    other: FakeAirbyte
    many: list
    alone: dict
    closed_port: int
    fernet_key: str
    sql: object

    def started(self, task):
        """Return the ids of the jobs of a task's connection."""
        return self._server(task).starts(self.alone[task])

    def status(self, task):
        """Return the status of each job of a task's connection."""
        return [self._server(task).job(job).status for job in self.started(task)]

    def _server(self, task):
        return self.other if task == "taken" else self.airbyte

    def run(self, task, state="deferred"):
        """Trigger the DAG of a task; return its job once it is watched, by the task or by its trigger."""
        self.airflow.trigger(f"remote_{task}", RUN)
        self.until(task, state)
        wait_until(lambda: "): running" in self.log(task))
        return self.started(task)[-1]

    def until(self, task, state, number=1):
        """Wait until the task's try has a state."""
        wait_until(lambda: self.airflow.tasks(f"remote_{task}", RUN)[task] == (state, number))
        if state == "deferred":
            wait_until(lambda: self.noted(f"remote_{task}", task, number))

    def noted(self, dag, task, number=1):
        """Count the ends of a try's processes that the scheduler knows of.

        Airflow fails a task that runs again before the scheduler has heard of the end of the process that deferred it:
        on a busy machine a trigger may be quicker.
        """
        key = f"success for task instance TaskInstanceKey(dag_id='{dag}', task_id='{task}', run_id='{RUN}', "
        log = (self.airflow.home / "scheduler.log").read_text(errors="replace")
        return log.count(f"{key}try_number={number}, ")

    def ended(self, task):
        """Wait for the end of the run and return its state."""
        return self.airflow.wait(f"remote_{task}", RUN, timeout=120)

    def said(self, task, words):
        """Whether a trigger's last words are found: a second after it was cancelled, they are the triggerer's own."""
        return words in self.log(task) + (self.airflow.home / "triggerer.log").read_text()

    def log(self, task, attempt=1, dag=None):
        return self.airflow.log(f"remote_{dag or task}", RUN, task, attempt)


def wait_until(true, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def within(seconds, true):
    """Wait for something that has to come soon."""
    begun = time.monotonic()
    wait_until(true, seconds=3 * seconds)
    assert time.monotonic() - begun < seconds


@pytest.fixture(scope="module")
def world(tmp_path_factory, request, postgres_server):
    """Run Airflow 3 on PostgreSQL: SQLite gives up after five seconds when many processes write on a busy machine."""
    folder, port = tmp_path_factory.mktemp("remote"), ReservedPort()
    dags = folder / "dags"
    dags.mkdir()
    shutil.copy(Path(__file__).with_name("remote_probe_dags.py"), dags)
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    options = {"config": "current", "auth": "client_credentials", "client_secret": CLIENT_SECRET}
    failed_before = request.session.testsfailed
    with ExitStack() as stack:
        airbyte = stack.enter_context(FakeAirbyte(token_seconds=60, **options))
        other = stack.enter_context(FakeAirbyte(**options))
        many = [airbyte.add_connection(f"many {number}", ["users", "orders"]) for number in range(MANY)]
        alone = {name: (other if name == "taken" else airbyte).add_connection(name, ["users"]) for name in ALONE}
        env = _settings(many, alone, key)
        database = None if AIRFLOW_2 else stack.enter_context(postgres_server.database())
        if database:
            uri = postgres_server.airflow_uri(database).replace("postgres:", "postgresql+psycopg2:")
            env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = uri
        airflow = stack.enter_context(real_airflow(dags, env, triggerer=True))
        for conn_id, server in (("airbyte", airbyte), ("other", other)):
            airflow.add_connection(conn_id, _connection(server))
        yield World(airflow, airbyte, other, many, alone, port.number, key, _asker(postgres_server, database))
        if request.session.testsfailed > failed_before:
            airflow.keep_logs(KEPT_LOGS / folder.parent.name)
    port.release()


def _asker(server, database):
    def sql(text):
        with closing(server.connect(database)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    return sql


def _connection(server, **extra):
    return {"conn_type": "eltairbyte", "host": server.url, "login": "client", "password": CLIENT_SECRET,
            "extra": {"auth": "client_credentials", **extra}}  # fmt: skip


def _settings(many, alone, key):
    return {
        "ELT_TEST_MANY": json.dumps(many),
        "ELT_TEST_CONNECTIONS": json.dumps(alone),
        "AIRFLOW__CORE__FERNET_KEY": key,
        # A triggerer that was killed counts as gone soon, and so does a task.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",  # it forks a process for each task
    }


def test_many_syncs_outlive_a_killed_triggerer(world):
    airflow, airbyte, jobs = world.airflow, world.airbyte, lambda: [airbyte.starts(one) for one in world.many]
    airflow.trigger("remote_many", RUN)
    wait_until(lambda: _all_deferred(airflow) and world.noted("remote_many", "sync") >= MANY, seconds=300)
    _wait_for_looks(airbyte)
    airflow.kill_triggerer()
    first, second = world.many[::2], world.many[1::2]
    for connection in first:  # while nobody watches
        airbyte.finish(*airbyte.starts(connection), rows=10, bytes=1000)
    airflow.start_triggerer()
    _wait_for_looks(airbyte)
    for connection in second:
        airbyte.finish(*airbyte.starts(connection), rows=10, bytes=1000)
    assert airflow.wait("remote_many", RUN, timeout=300) == "success"
    assert [len(started) for started in jobs()] == [1] * MANY
    assert airbyte.cancelled_by_api == []
    for number in (0, 1):
        _tells_all(world, number)


def _all_deferred(airflow):
    tasks = airflow.tasks("remote_many", RUN)
    return len(tasks) == MANY and {state for state, _ in tasks.values()} == {"deferred"}


def _wait_for_looks(airbyte):
    """Wait until the triggerer, which alone asks for many at once, has looked twice."""
    before = time.time()
    wait_until(lambda: sum(seen.at > before for seen in airbyte.asked(r"/jobs$", "GET")) >= 2)


def _tells_all(world, number):
    """Result, link and log of a task whose trigger was begun twice."""
    connection, place = world.many[number], ("remote_many", RUN, "sync")
    job = str(world.airbyte.starts(connection)[0])
    result = world.airflow.xcom(*place, map_index=number)
    assert (result["remote_id"], result["job_id"], result["status"]) == (connection, job, "succeeded")
    assert (result["rows"], result["bytes"], len(result["streams"])) == (10, 1000, 2)
    assert result["url"].startswith(world.airbyte.url)
    assert result["url"].endswith(f"/connections/{connection}/status")
    note = world.airflow.xcom(*place, key="elt_remote_sync", map_index=number)
    assert (note["url"], note["watch"]["job_id"]) == (result["url"], job)
    if not AIRFLOW_2:
        assert world.airflow.xcom(*place, key="_link_RemoteSyncLink", map_index=number) == result["url"]
        assert world.airflow.links(*place, map_index=number) == {"Remote sync": result["url"]}
    log = world.airflow.log(*place, map_index=number)
    for words in (f"Started {connection} (job {job})", f"(job {job}): running", f"(job {job}): succeeded, 10 rows"):
        assert words in log


@pytest.mark.lowest
def test_a_cleared_task_takes_its_job_with_it(world):
    job = world.run("cleared")
    world.airflow.clear("remote_cleared", RUN)
    world.until("cleared", "deferred", 2)
    wait_until(lambda: world.said("cleared", "Another try has taken the remote job over"))
    assert world.started("cleared") == [job]
    assert world.status("cleared") == ["running"]
    world.airbyte.finish(job, rows=3)
    assert world.ended("cleared") == "success"
    assert world.airbyte.cancelled_by_api == []
    assert "Adopted what runs already" in world.log("cleared", 2)


@pytest.mark.lowest
@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_task_that_a_person_ends_cancels_its_job(world, state):
    job = world.run(state)
    world.airflow.mark(f"remote_{state}", RUN, state, state)
    within(25, lambda: world.status(state) == ["cancelled"])
    assert job in world.airbyte.cancelled_by_api
    assert world.ended(state) == state


@pytest.mark.lowest
def test_a_job_that_is_not_ours_any_more_is_left_alone(world):
    ours = world.run("taken")
    looks = world.other.inject(Fault("GET", r"/jobs$", times=None))
    wait_until(lambda: looks.hits >= 4)  # now the trigger waits some seconds between its attempts
    world.other.finish(ours)
    theirs = world.other.begin(world.alone["taken"])
    world.other.heal()
    world.airflow.mark("remote_taken", RUN, "taken", "failed")
    wait_until(lambda: world.said("taken", "it was not ours to cancel"))
    assert world.status("taken") == ["succeeded", "running"]
    assert world.other.job(theirs).active
    assert world.other.cancelled_by_api == []


@only_3
def test_a_deferred_task_that_takes_too_long_cancels_its_job_and_is_tried_again(world):
    first = world.run("late")
    wait_until(lambda: world.airbyte.job(first).status == "cancelled")
    world.until("late", "deferred", 2)
    _, second = world.started("late")
    world.airbyte.finish(second, rows=1)
    assert world.ended("late") == "success"
    assert world.status("late") == ["cancelled", "succeeded"]
    assert "execution_timeout" in world.log("late", 1)


@pytest.mark.lowest
def test_a_waiting_worker_that_a_person_ends_cancels_its_job(world):
    world.run("blocking_failed", "running")
    world.airflow.mark("remote_blocking_failed", RUN, "blocking_failed", "failed")
    within(25, lambda: world.status("blocking_failed") == ["cancelled"])
    assert world.ended("blocking_failed") == "failed"


@pytest.mark.lowest
def test_a_killed_worker_leaves_its_job_to_the_next_try(world):
    job = world.run("blocking_killed", "running")
    world.airflow.kill_task("remote_blocking_killed", RUN, "blocking_killed")
    world.until("blocking_killed", "running", 2)
    wait_until(lambda: "Found, started by an earlier try" in world.log("blocking_killed", 2))
    assert world.started("blocking_killed") == [job]
    assert world.airbyte.job(job).active
    world.airbyte.finish(job, rows=1)
    assert world.ended("blocking_killed") == "success"


@only_3
def test_a_wrong_configuration_burns_no_retries_and_a_broken_system_does(world):
    place = ("remote_reasons", RUN)
    world.airflow.trigger(*place)
    tasks = lambda: world.airflow.tasks(*place)  # noqa: E731
    wait_until(lambda: {state for state, _ in tasks().values()} == {"deferred"})
    wait_until(lambda: all(world.noted("remote_reasons", name) for name in tasks()))
    (wrong,), (broken,) = world.started("wrong_config"), world.started("broken_system")
    world.airbyte.fail(wrong, "config_error", "The password is wrong", log_lines=["could not log in"])
    world.airbyte.fail(broken, "system_error", "The disk is full")
    wait_until(lambda: world.noted("remote_reasons", "broken_system", 2))
    world.airbyte.finish(world.started("broken_system")[1], rows=1)
    assert world.airflow.wait(*place) == "failed"
    assert tasks() == {"wrong_config": ("failed", 1), "broken_system": ("success", 2)}
    assert len(world.started("wrong_config")) == 1
    for words in ("The password is wrong", "could not log in"):
        assert words in world.log("wrong_config", dag="reasons")
    assert "The disk is full" in world.log("broken_system", dag="reasons")


@only_3
def test_sensors_see_the_sync_of_somebody_else_or_give_up(world):
    place = ("remote_sensors", RUN)
    world.airbyte.finish(world.airbyte.begin(world.alone["seen"]))  # before the run: does not count
    ended = int(time.time())
    wait_until(lambda: int(time.time()) > ended)  # what Airbyte shows of a time is its second
    world.airflow.trigger(*place)
    wait_until(lambda: world.noted("remote_sensors", "seen"))
    job = world.airbyte.begin(world.alone["seen"])
    world.airbyte.finish(job, rows=7)
    assert world.airflow.wait(*place) == "failed"
    states = {name: state for name, (state, _) in world.airflow.tasks(*place).items()}
    assert states == {"seen": "success", "in_vain": "failed", "not_minded": "skipped"}
    result = world.airflow.xcom(*place, "seen")
    assert (result["job_id"], result["rows"]) == (str(job), 7)


@only_3
def test_no_secret_is_kept_where_people_look(world):
    """Searched: the whole database, all logs, and what the API says. The connections are encrypted there."""
    airflow, airbyte = world.airflow, world.airbyte
    proxy = f"http://user:{QUIET}proxy@{{}}"
    every = {
        "keyfile_dict": json.dumps({"type": "service_account", "private_key": f"{QUIET}key"}),
        "client_private_key": f"{QUIET}tls",
        "auth_headers": json.dumps({"X-Tenant": f"{QUIET}header"}),
        "proxy": proxy.format(airbyte.url.removeprefix("http://")),
    }
    closed = {**every, "proxy": proxy.format(f"{LOOPBACK}:{world.closed_port}")}
    given = {
        "guarded": _connection(airbyte, **every),
        "unreachable": _connection(airbyte, **closed),
        "refused": _connection(airbyte) | {"password": f"{QUIET}wrong"},
        "ill_written": _connection(airbyte, auth_headers=f"{QUIET}nojson", proxy=f"{QUIET}noproxy"),
    }
    for conn_id, fields in given.items():
        airflow.add_connection(conn_id, fields)
        assert QUIET not in json.dumps(airflow.connection(conn_id))
    airflow.trigger("remote_secrets", RUN)
    wait_until(lambda: world.noted("remote_secrets", "guarded") and world.started("guarded_blocking"))
    kwargs = _stored_kwargs(world)
    assert world.alone["guarded"] in "".join(kwargs)
    for task in ("guarded", "guarded_blocking"):
        airbyte.finish(*world.started(task), rows=1)
    assert airflow.wait("remote_secrets", RUN) == "failed"
    states = {name: state for name, (state, _) in airflow.tasks("remote_secrets", RUN).items()}
    assert states == {"guarded": "success", "guarded_blocking": "success", "unreachable": "failed",
                      "refused": "failed", "ill_written": "failed"}  # fmt: skip
    assert f"{QUIET}header" in {seen.headers.get("X-Tenant") for seen in airbyte.asked("/jobs")}
    told = json.dumps(
        [kwargs, airflow.rendered("remote_secrets", RUN), [world.log(name, dag="secrets") for name in states]]
    )
    assert QUIET not in told
    tokens = {seen.headers["Authorization"].removeprefix("Bearer ") for seen in airbyte.asked("/connections/")}
    assert tokens
    places = {path: path.read_text(errors="replace") for path in airflow.home.rglob("*") if path.is_file()}
    places |= {table: _content(world, table) for (table,) in world.sql(_TABLES)}
    assert "remote_secrets" in places["task_instance"]
    assert "remote_secrets" in "".join(map(str, places))
    for place, content in places.items():
        assert QUIET not in content, place
        assert not [token for token in tokens if token in content], place


_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


def _content(world, table):
    return "\n".join(row for (row,) in world.sql(f'SELECT t::text FROM "{table}" AS t'))


def _stored_kwargs(world):
    """Return the arguments of the triggers that wait, decrypted."""
    from cryptography.fernet import Fernet

    known = Fernet(world.fernet_key)
    rows = [text for (text,) in world.sql("SELECT kwargs FROM trigger")]
    return [text if text.startswith("{") else known.decrypt(text.encode()).decode() for text in rows]
