r"""A throw-away Cloud Storage: gcp-storage-emulator in a process of its own, behind a front.

>>> with GcsServer() as gcs:
...     gcs.create_bucket("stage")
...     gcs.folder / "stage"  # where its objects lie as files
...     gcs.refuse("insert", r"manifest\.json$", status=503, code="backendError")  # once
...     gcs.cut("insert", r"manifest\.json$", when="after")  # stored, but the answer is lost

The front keeps preconditions, which the emulator ignores, and tells errors in the service's words.  What is
left: nobody is refused (no tokens, no permissions: inject the refusal), `kmsKeyName` is taken and forgotten,
lists have one page, and conditions inside a batch are not looked at.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from servers.gcs_front import GcsFront
from servers.http_front import Asked, Fault, When
from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort

if TYPE_CHECKING:
    from google.cloud.storage import Client

START_SECONDS = 30.0
LAUNCH = Path(__file__).with_name("gcs_launch.py")
BUCKETS = "buckets"


class GcsServer(LentServer):
    """gcp-storage-emulator on a free loopback port."""

    def __init__(self, project: str = "elt") -> None:
        """Describe a server; clients say that they belong to `project`."""
        self.project = project
        self._directory: Path | None = None
        self._port = ReservedPort()
        self._process: GuardedProcess | None = None
        self._front = GcsFront(self._port.number)

    @property
    def url(self) -> str:
        """Where clients find it: the front."""
        return f"http://{LOOPBACK}:{self._front.port}"

    @property
    def folder(self) -> Path:
        """A folder whose subfolders are the buckets, with an object's bytes at its name."""
        if self._directory is None:
            raise RuntimeError("the server is not running")
        return self._directory / BUCKETS

    @property
    def asked(self) -> list[Asked]:
        """Every request since the start, in order of arrival."""
        return self._front.asked

    def env(self) -> dict[str, str]:
        """Return the variables that send Google's client, and so Airflow's hook, to it."""
        return {"STORAGE_EMULATOR_HOST": self.url}

    def start(self) -> None:
        """Start the emulator and the front, and wait until they answer."""
        self._directory = Path(tempfile.mkdtemp(prefix="elt-gcs-"))
        self.folder.mkdir()
        command: list[str | Path] = [
            sys.executable, LAUNCH, "--data-dir", self._directory,
            "start", "--quiet", "--host", LOOPBACK, "--port", str(self._port.number),
        ]  # fmt: skip
        with (self._directory / "log").open("ab") as log:
            self._process = GuardedProcess(command, log=log, cwd=self._directory, env={"STORAGE_DIR": BUCKETS})
        self._wait(self._process, self._directory)
        self._front.start()

    def close(self) -> None:
        """Stop both and remove what they wrote."""
        self._front.close()
        if self._process:
            self._process.stop()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._port.release()

    # --- use ---

    def client(self, **options: Any) -> Client:
        """Return a client of Google's without credentials; `options` are those of `storage.Client`."""
        return client_of(self.url, **{"project": self.project, **options})

    def create_bucket(self, name: str) -> str:
        """Create a bucket that keeps nothing of what is deleted, and return its name."""
        bucket = {"name": name, "softDeletePolicy": {"retentionDurationSeconds": "0"}}
        for method, place in (("POST", "b"), ("PATCH", f"b/{name}")):
            answer = requests.request(method, f"{self.url}/storage/v1/{place}", json=bucket, timeout=START_SECONDS)
            answer.raise_for_status()
        return name

    def airflow_connection(self, **extra: object) -> str:
        """Return the value of an AIRFLOW_CONN_* variable as JSON: without credentials, unless `extra` has some.

        It is used together with :meth:`env`.
        """
        own = extra or {"is_anonymous": True}
        return json.dumps({"conn_type": "google_cloud_platform", "extra": {"project": self.project, **own}})

    # --- faults ---

    def refuse(
        self, operation: str, place: str, *, status: int, code: str = "", message: str = "",
        times: int = 1, skip: int = 0,
    ) -> Fault:  # fmt: skip
        """Answer requests of an operation (see `GcsFront`) whose `/bucket/name` matches a pattern with an error.

        `code` is the error's reason.  It happens `times` times, after `skip` matching requests have passed;
        the returned fault counts in `hits`.
        """
        fault = Fault(operation, place, status=status, code=code, message=message, times=times, skip=skip)
        return self._front.inject(fault)

    def cut(self, operation: str, place: str, *, when: When, times: int = 1, skip: int = 0) -> Fault:
        """Reset the connection of matching requests.

        "before": the emulator never sees the request.  "after": it does what is asked, but its answer is
        lost.  "body": the answer breaks off half way.
        """
        return self._front.inject(Fault(operation, place, when=when, times=times, skip=skip))

    def heal(self) -> None:
        """Take every fault away."""
        self._front.heal()

    # --- inside ---

    def _wait(self, process: GuardedProcess, directory: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.running and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port.number}/", timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        process.stop()
        raise RuntimeError(f"the emulator did not start:\n{(directory / 'log').read_text(errors='replace')}")


def client_of(url: str, **options: Any) -> Client:
    """Return a client of Google's for a server at `url`, without credentials."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    own: dict[str, Any] = {
        "project": "elt",
        "credentials": AnonymousCredentials(),  # type: ignore[no-untyped-call]
        "client_options": {"api_endpoint": url},
    }
    return Client(**{**own, **options})
