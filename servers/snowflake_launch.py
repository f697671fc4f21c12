"""Start fakesnow's server, with what it gets wrong and our tests need put right; a program for its own environment.

Reached by http and by https.  S3 is read through s3fs, so that no extension of DuckDB is fetched.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import threading
import time
from typing import Any

import uvicorn

from servers.snowflake_cursor import install


def read_from_s3(connection: Any, endpoint: str, key: str, secret: str) -> None:
    """Let DuckDB read s3:// from an endpoint."""
    import s3fs

    files = s3fs.S3FileSystem(
        key=key, secret=secret, endpoint_url=endpoint, use_listings_cache=False, skip_instance_cache=True,
        client_kwargs={"region_name": "us-east-1"},
    )  # fmt: skip
    connection.register_filesystem(files)


def serve(app: Any, **options: Any) -> uvicorn.Server:
    """Serve in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", log_level="warning", **options))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.02)
    return server


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--https", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--s3", nargs=3, metavar=("ENDPOINT", "KEY", "SECRET"))
    given = parser.parse_args()
    module = importlib.import_module("fakesnow.server")  # the package has a function of the same name
    if given.s3:
        read_from_s3(module.shared_fs.duck_conn, *given.s3)
    install(module)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    serve(module.app, port=given.https, ssl_certfile=given.certificate, ssl_keyfile=given.key)
    serve(module.app, port=given.http)  # last: whoever finds it there finds both
    stop.wait()


if __name__ == "__main__":
    main()
