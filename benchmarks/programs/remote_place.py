"""The other end of a fake remote's process, and the Airflow connections that lead to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Final, Self

CONN_ID: Final = "remote"
TOKEN_SECONDS: Final = {"airbyte_iap": 6.0, "airbyte_040_iap": 20.0}
"""Of a round of requests one by one a token has to live the longer: it is shown when its turn comes."""
_TYPES: Final = {"airbyte": "eltairbyte", "fivetran": "eltfivetran", "digdag": "eltdigdag"}


class Place:
    """A fake remote with syncs under way, in a process of its own."""

    def __init__(self, kind: str, syncs: int, latency: float) -> None:
        self.kind, self.syncs = kind, syncs
        seconds = TOKEN_SECONDS.get(kind, 900.0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.programs.remote_server", kind, "--syncs", str(syncs),
             "--latency", str(latency), "--token-seconds", str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        told = self._read()
        self.url: str = told["url"]
        self.watches: list[str] = [json.dumps(watch) for watch in told["watches"]]
        """As texts: like the triggerer, each trigger shall make strings of its own of them."""
        self._told = told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def ask(self, word: str) -> dict[str, Any]:
        """Say a word, and return the answer; blocks."""
        assert self._process.stdin
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._read()

    def connection(self) -> dict[str, Any]:
        """Return our connection to it, as Airflow reads it from the environment."""
        extra: dict[str, Any] = {"timeout": 120}
        value: dict[str, Any] = {"conn_type": _TYPES[self.kind.partition("_")[0]], "host": self.url, "extra": extra}
        if self.kind == "fivetran":
            value |= {"login": "key", "password": "secret"}
        if self.kind in TOKEN_SECONDS:
            value |= {"login": "client", "password": "secret"}
            extra |= {
                "auth": "client_credentials", "iap_audience": self._told["audience"], "keyfile_dict": self._told["key"],
            }  # fmt: skip
        return value

    def publish(self) -> None:
        """Let Airflow in this process find our connection; to be done before it is imported."""
        os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(self.connection())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake remote {self.kind} has ended: {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found
