r"""A throw-away S3: moto in a process of its own, behind a front that injects what moto never refuses.

>>> with S3Server() as s3:
...     s3.create_bucket("stage")
...     s3.refuse("PUT", r"manifest\.json$", status=503, code="SlowDown")  # once
...     s3.cut("PUT", r"manifest\.json$", when="after")  # stored, but the answer is lost

moto checks neither signatures nor checksums, so a green test with a wrong secret proves nothing: inject the
refusal.
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

import boto3
from botocore.config import Config

from servers.http_front import Asked, Fault, When
from servers.processes import LOOPBACK, GuardedProcess, LentServer, ReservedPort
from servers.s3_front import S3Front

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

START_SECONDS = 30.0
REGION = "us-east-1"


class S3Server(LentServer):
    """moto's S3 (and STS, KMS ...) on a free loopback port."""

    def __init__(self, *, access_key: str = "AKIATHROWAWAY", secret_key: str = "throw-away") -> None:
        """Describe a server; the keys are what its clients use, moto takes any."""
        self.access_key = access_key
        self.secret_key = secret_key
        self._directory: Path | None = None
        self._port = ReservedPort()
        self._process: GuardedProcess | None = None
        self._front = S3Front(self._port.number)

    @property
    def endpoint_url(self) -> str:
        """Where clients find it: the front."""
        return f"http://{LOOPBACK}:{self._front.port}"

    @property
    def bare_url(self) -> str:
        """Where moto itself is found, without faults, and without the front's share of this process's time."""
        return f"http://{LOOPBACK}:{self._port.number}"

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path of every request since the start, `/bucket/key`, in order of arrival."""
        return self._front.requests

    @property
    def asked(self) -> list[Asked]:
        """Every request since the start with its headers, in order of arrival."""
        return self._front.asked

    def start(self) -> None:
        """Start moto and the front, and wait until they answer."""
        self._directory = Path(tempfile.mkdtemp(prefix="elt-s3-"))
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self._port.number)]
        with (self._directory / "log").open("ab") as log:
            self._process = GuardedProcess(command, log=log, cwd=self._directory)
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

    def client(self, **options: Any) -> S3Client:
        """Return a boto3 client that does not retry by itself; `options` are those of `boto3.client`."""
        own: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": REGION,
            "config": Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        }
        client: S3Client = boto3.client("s3", **{**own, **options})
        return client

    def client_of(self, service: str) -> Any:
        """Return a boto3 client of another of moto's services (`secretsmanager` ...)."""
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client(service, endpoint_url=self.endpoint_url, region_name=REGION, **keys)

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its name."""
        self.client().create_bucket(Bucket=name)
        return name

    def airflow_connection(self, **extra: object) -> str:
        """Return the value of an AIRFLOW_CONN_* variable as JSON; `extra` adds to its own (role_arn ...)."""
        own = {"endpoint_url": self.endpoint_url, "region_name": REGION}
        return json.dumps(
            {
                "conn_type": "aws",
                "login": self.access_key,
                "password": self.secret_key,
                "extra": {**own, **extra},
            }
        )

    # --- faults ---

    def refuse(self, method: str, key: str, *, status: int, code: str, times: int = 1, skip: int = 0) -> Fault:
        """Answer requests of `method` whose `/bucket/key` matches the pattern `key` with an S3 error.

        It happens `times` times, after `skip` matching requests have passed; the returned fault counts in
        `hits`.
        """
        return self._front.inject(Fault(method, key, status=status, code=code, times=times, skip=skip))

    def cut(self, method: str, key: str, *, when: When, times: int = 1, skip: int = 0) -> Fault:
        """Reset the connection of matching requests.

        "before": moto never sees the request.  "after": it does what is asked, but its answer is lost.
        "body": the answer breaks off half way.
        """
        return self._front.inject(Fault(method, key, when=when, times=times, skip=skip))

    def heal(self) -> None:
        """Take every fault away."""
        self._front.heal()

    # --- inside ---

    def _wait(self, process: GuardedProcess, directory: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.running and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port.number}/moto-api/", timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        process.stop()
        raise RuntimeError(f"moto did not start:\n{(directory / 'log').read_text(errors='replace')}")
