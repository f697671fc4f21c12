"""Start the stand-in for Databricks; a program for its own environment.

HTTPS with a bearer token on `/sql/1.0/warehouses/<name>`: every name is a warehouse with tables of its own.  With the
same token, POST `/faults` injects some, and GET `/statements` tells what was executed. PUT and DELETE on `/Volumes/`
are what PUT and REMOVE statements send their client to.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from databricks.sql.thrift_api.TCLIService import TCLIService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from servers.databricks_delta import Files
from servers.databricks_sql import Warehouse
from servers.databricks_wire import Dropped, Fault, Refused, Service

WAREHOUSES: Final = "/sql/1.0/warehouses/"


class Metastores:
    """The warehouses, each made when it is first asked for."""

    def __init__(self, folder: Path, files: Files) -> None:
        from pysail.spark import SparkConnectServer

        self.faults: list[Fault] = []
        self.statements: list[str] = []
        self._folder, self.files = folder, files
        self._sail = SparkConnectServer(ip="127.0.0.1", port=0)
        self._sail.start(background=True)
        self._made: dict[str, TCLIService.Processor] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> TCLIService.Processor:
        """Return the processor of a warehouse."""
        from pyspark.sql import SparkSession

        with self._lock:
            if name not in self._made:
                _, port = self._sail.listening_address
                spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
                warehouse = Warehouse(spark, self._folder / name, self.files)
                self._made[name] = TCLIService.Processor(Service(warehouse, self.faults, self.statements))
            return self._made[name]


class Exchange(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    metastores: Metastores
    token: str

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self._send(403, b"", {"x-databricks-error-or-redirect-message": "Invalid access token."})
        elif self.path == "/faults":
            self.metastores.faults[:] = [Fault(**each) for each in json.loads(body)]
            self._send(200, b"")
        elif self.path.startswith(WAREHOUSES):
            self._call(self.metastores.of(self.path.removeprefix(WAREHOUSES).split("?")[0]), body)
        else:
            self._send(404, b"")

    def do_GET(self) -> None:
        if self.path == "/statements" and self.headers.get("Authorization") == f"Bearer {self.token}":
            self._send(200, json.dumps(self.metastores.statements).encode())
        else:
            self._send(404, b"")

    def do_PUT(self) -> None:
        path = self._file()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self._send(200, b"")

    def do_DELETE(self) -> None:
        self._file().unlink(missing_ok=True)
        self._send(204, b"")

    def _file(self) -> Path:
        """Return the file of a link that a PUT or REMOVE statement gave out; who has the link needs no token."""
        return self.metastores.files.local(unquote(self.path))

    def _call(self, processor: TCLIService.Processor, body: bytes) -> None:
        answer = TMemoryBuffer()
        try:
            processor.process(TBinaryProtocol(TMemoryBuffer(body)), TBinaryProtocol(answer))
        except Dropped:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        except Refused as refused:
            self._send(refused.status, b"", {"Retry-After": "0"})
        else:
            self._send(200, answer.getvalue(), {"Content-Type": "application/x-thrift"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay silent."""


class Server(ThreadingHTTPServer):
    """Each connection in a thread of its own, which does the handshake."""

    daemon_threads = True
    request_queue_size = 128
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as secure:
            self.RequestHandlerClass(secure, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that go away are part of the tests."""


def main() -> int:
    """Serve until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    told = json.loads(os.environ["ELT_DATABRICKS"])
    Exchange.token = told["token"]
    url = f"https://localhost:{options.port}"
    Exchange.metastores = Metastores(options.folder, Files(told["s3"], told["folders"], url))
    Exchange.metastores.of("warmup")
    Server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Server.context.load_cert_chain(options.certificate, options.key)
    with Server(("127.0.0.1", options.port), Exchange) as server:
        server.serve_forever(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
