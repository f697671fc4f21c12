"""A fake remote as a process of its own, with any number of syncs under way that all end at one word.

It prints one line of JSON: where it is, and what waits for each sync. Then it answers each line on its standard input
with one line: `end` ends every sync now, `stats` counts. The end of its input ends it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_public_shapes import when
from tests.fakes.digdag import FakeDigdag
from tests.fakes.fivetran import FakeFivetran
from tests.fakes.fivetran_model import timestamp
from tests.fakes.google import FakeGoogle
from tests.fakes.http_fake import FakeServer
from tests.fakes.iap import FakeIap

EMAIL = "elt@proj.iam.gserviceaccount.com"
GUARDED = "_iap"


class AirbyteEnd:
    """Airbyte: the public API, or that of 0.40; with `token_seconds` behind IAP and with application tokens."""

    def __init__(self, kind: str, syncs: int, token_seconds: float) -> None:
        old = kind.startswith("airbyte_040")
        keyed = kind.endswith(GUARDED) or kind == "airbyte_keyed"
        self.server = FakeAirbyte(
            public=not old, config="0.40" if old else None, auth="client_credentials" if keyed else "none",
            token_seconds=token_seconds,
        )  # fmt: skip
        names = [self.server.add_connection(f"connection {number}") for number in range(syncs)]
        self.jobs = [self.server.job(self.server.begin(name)) for name in names]

    def watches(self) -> list[dict[str, str]]:
        return [
            {"remote_id": job.connection_id, "job_id": str(job.id), "mark": _iso(when(job.created))}
            for job in self.jobs
        ]

    def end(self) -> None:
        for job in self.jobs:
            self.server.finish(job.id, rows=1000, bytes=100_000)

    def stats(self) -> dict[str, Any]:
        mints = [seen.at for seen in self.server.asked("/applications/token$")]
        return {"application_mints": mints, "refused": self.server.refused}


class StockFivetran(FakeFivetran):
    """Also answers at the path of before, which the stock provider still asks."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/v1/connectors/{id}", self._handle(self._get_connection)), *super().routes()]


class FivetranEnd:
    """Fivetran: connections that have synced once, and do so again."""

    def __init__(self, _kind: str, syncs: int, _token_seconds: float) -> None:
        self.server = StockFivetran()
        self.names = [self.server.add_connection(f"schema_{number}") for number in range(syncs)]
        for again in (False, True):
            for name in self.names:
                self.server.begin(name)
                if not again:
                    self.server.finish(name)

    def watches(self) -> list[dict[str, str]]:
        ended = [timestamp(self.server.connections[name].succeeded_at) for name in self.names]
        return [{"remote_id": name, "mark": json.dumps([at, ""])} for name, at in zip(self.names, ended, strict=True)]

    def end(self) -> None:
        for name in self.names:
            self.server.finish(name)

    def stats(self) -> dict[str, Any]:
        return {}


class DigdagEnd:
    """Digdag: one workflow at many session times."""

    def __init__(self, _kind: str, syncs: int, _token_seconds: float) -> None:
        self.server = FakeDigdag()
        workflow = self.server.add_workflow("rental", "load")
        first = datetime(2020, 1, 1, tzinfo=UTC)
        self.attempts = [
            self.server.begin(workflow, first + timedelta(minutes=number), f"airflow-{number:016x}-0")
            for number in range(syncs)
        ]

    def watches(self) -> list[dict[str, str]]:
        return [
            {"remote_id": "rental/load", "job_id": name, "mark": self.server.attempts[name].retry_name or ""}
            for name in self.attempts
        ]

    def end(self) -> None:
        for name in self.attempts:
            self.server.finish(name)

    def stats(self) -> dict[str, Any]:
        return {}


class Front:
    """Google and its proxy before a server: tokens live `token_seconds`."""

    def __init__(self, behind: FakeServer, token_seconds: float) -> None:
        self.google = FakeGoogle()
        self.google.token_seconds = int(token_seconds)
        self.iap = FakeIap(self.google, behind.url, members={EMAIL})

    def key(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            return self.google.service_account(EMAIL, Path(folder) / "key.json").read_text()

    def stats(self) -> dict[str, Any]:
        mints = [mint for mint in self.google.mints if mint.audience == self.iap.audience]
        return {
            "iap_mints": [mint.at for mint in mints],
            "iap_tokens_seen": self.iap.seen_tokens,
            "iap_answers": Counter(str(one.status) for one in self.iap.log),
        }


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("--syncs", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--token-seconds", type=float, default=900.0)
    asked = parser.parse_args()
    ends = {"airbyte": AirbyteEnd, "fivetran": FivetranEnd, "digdag": DigdagEnd}
    end = ends[asked.kind.partition("_")[0]](asked.kind, asked.syncs, asked.token_seconds)
    end.server.latency = asked.latency
    with ExitStack() as stack:
        stack.enter_context(end.server)
        front = Front(end.server, asked.token_seconds) if asked.kind.endswith(GUARDED) else None
        told: dict[str, Any] = {"url": end.server.url}
        if front:
            stack.enter_context(front.google)
            stack.enter_context(front.iap)
            told = {"url": front.iap.url, "key": front.key(), "audience": front.iap.audience}
        _say({**told, "watches": end.watches()})
        for line in sys.stdin:
            if line.strip() == "end":
                with end.server.lock:
                    end.end()
            own = {"requests": len(end.server.requests), "most_in_flight": end.server.most_in_flight}
            _say({**own, **end.stats(), **(front.stats() if front else {})})


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _iso(text: str) -> str:
    return text.replace("Z", "+00:00")


if __name__ == "__main__":
    main()
