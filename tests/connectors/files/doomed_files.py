"""Syncs of files in processes that kill themselves at some moment: run by the tests, with their plan as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from airflow_elt_provider.connectors.files.settings import FilesSettings
from airflow_elt_provider.connectors.files.source import FilesSource
from airflow_elt_provider.connectors.hologres.destination import HologresDestination
from airflow_elt_provider.connectors.hologres.settings import of_connection as hologres_of
from airflow_elt_provider.connectors.postgres.destination import PostgresDestination
from airflow_elt_provider.connectors.postgres.settings import of_connection
from airflow_elt_provider.core.connection import ConnectionParts
from airflow_elt_provider.core.load import RunIdentity
from airflow_elt_provider.core.request import extraction, merging
from airflow_elt_provider.engine.sync import Sync
from airflow_elt_provider.stages.local import LocalStage
from airflow_elt_provider.stages.s3 import S3Stage
from airflow_elt_provider.stages.uri import parse_stage_uri

TYPES = {"user_id": "bigint", "book_id": "bigint", "order_cnt": "bigint", "order_amt": "bigint"}


class Doom:
    """Counts what happens, and kills the process at the nth moment; 0 for never."""

    def __init__(self, at: int) -> None:
        self.at, self.moments = at, 0

    def tick(self, _: str = "") -> None:
        """Pass a moment."""
        self.moments += 1
        if self.moments == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def sync(plan: dict[str, Any], at: int) -> int:
    """Run one sync that dies at a moment, and return how many rows it inserted."""
    doom = Doom(at)

    def client() -> object:
        made = boto3.client(
            "s3", endpoint_url=plan["endpoint"], region_name="us-east-1", aws_access_key_id="a",
            aws_secret_access_key="s", config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip
        made.meta.events.register("before-send.s3", lambda **_: doom.tick())
        return made

    def open_folder(uri: str) -> S3Stage:
        place = parse_stage_uri(uri)
        return S3Stage(client, place.bucket, place.path)

    parts = ConnectionParts.parse("warehouse", plan["destination"])
    destination = (
        HologresDestination(hologres_of(parts), observe=doom.tick) if plan["kind"] == "hologres"
        else PostgresDestination(of_connection(parts), observe=doom.tick)
    )  # fmt: skip
    what = extraction(stream="orders", path=plan["path"], primary_key=["order_id"] if plan["mode"] == "merge" else None,
                      capture="new_files", mode=plan["mode"], column_types=TYPES)  # fmt: skip
    into = merging(target_table="public.book_order")
    run, source = RunIdentity("d", plan["run"], "t"), FilesSource(FilesSettings("aws", "s3", open_folder))
    stage = LocalStage(Path(plan["stage"]))
    return Sync(what, into, run, source, stage, destination).execute().inserted


def main(plan: dict[str, Any]) -> None:
    """Run a sync again and again until one survives, then another run; say how they ended."""
    deaths = []
    for at in [*plan["dooms"], 0]:
        child = os.fork()  # so that what is imported is imported once
        if not child:
            sync(plan, at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        deaths.append(os.waitstatus_to_exitcode(status))
        if deaths[-1] != -signal.SIGKILL:
            break
    sys.stdout.write(json.dumps({"deaths": deaths, "later": sync({**plan, "run": "tuesday"}, 0)}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
