"""An HTTP proxy in front of a Cloud Storage emulator, which adds what the emulator lacks and the service promises.

* preconditions (`ifGenerationMatch`): 412 for who comes second, of uploads in parts at their last part;
* a part of an upload that comes again is not stored again, and a finished upload tells its end again;
* errors have the service's texts, and a missing bucket is not a missing object.

One request at a time, so that looking and writing are one step: the emulator itself has one thread.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from email.parser import BytesParser
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from servers.http_front import Asked, Exchange, Fault, HttpFront, Reply, When

_OBJECT: Final = re.compile(r"(?:/storage/v1|/download/storage/v1)?/b/(?P<bucket>[^/]+)(?:/o(?:/(?P<name>.+))?)?")
_UPLOAD: Final = re.compile(r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o")
_RANGE: Final = re.compile(r"bytes (?:(?P<start>\d+)-(?P<end>\d+)|\*)/(?P<total>\d+|\*)")
_NO_OBJECT: Final = re.compile(rb'"No such object: (?:[^"\\]|\\.)*"')
_JSON: Final = {"Content-Type": "application/json; charset=UTF-8"}
_HTTP: Final = {"GET": "get", "DELETE": "delete", "PATCH": "patch"}
_INCOMPLETE: Final = 308


@dataclass
class Upload:
    """An upload in parts: what it stores, on what condition, and how far it has come."""

    place: str
    condition: str | None
    received: int = 0
    end: Reply | None = None


class _Exchange(Exchange):
    """One client's connection."""

    front: GcsFront

    def _asked(self, body: bytes) -> Asked:
        asked, path = super()._asked(body), urlsplit(self.path).path
        if _UPLOAD.fullmatch(path):
            return self._upload_asked(asked, path, body)
        if path == "/batch/storage/v1":
            return replace(asked, operation="batch", place=path)
        place = _OBJECT.fullmatch(path)
        if place is None:
            return asked
        name = unquote(place["name"] or "")
        operation = _HTTP.get(self.command, self.command)
        if self.command == "GET" and not name:
            operation = "list" if path.endswith("/o") else "bucket"
        elif asked.query.get("alt") == "media":
            operation = "download"
        return replace(asked, operation=operation, place=f"/{unquote(place['bucket'])}/{name}")

    def _upload_asked(self, asked: Asked, path: str, body: bytes) -> Asked:
        if number := asked.query.get("upload_id"):
            upload = self.front.uploads.get(number)
            return replace(asked, operation="chunk", place=upload.place if upload else path)
        bucket = unquote(_UPLOAD.fullmatch(path)["bucket"])  # type: ignore[index]
        name = asked.query.get("name") or self._metadata(asked, body).get("name", "")
        operation = "start" if asked.query.get("uploadType") == "resumable" else "insert"
        return replace(asked, operation=operation, place=f"/{bucket}/{name}")

    @staticmethod
    def _metadata(asked: Asked, body: bytes) -> dict[str, Any]:
        kind = asked.headers.get("content-type", "")
        if kind.startswith("multipart/"):
            boundary = BytesParser().parsebytes(f"Content-Type: {kind}\n\n".encode()).get_boundary() or ""
            body = body.split(f"--{boundary}".encode(), 2)[1].split(b"\r\n\r\n", 1)[1]
        found: dict[str, Any] = json.loads(body or b"{}")
        return found

    # --- asking ---

    def _pass_on(self, asked: Asked, body: bytes, cut: When | None) -> None:
        with self.front.turn:
            reply = self._told(asked, self._chunk(asked, body) if asked.operation == "chunk" else self._do(asked, body))
        self._answer(reply, cut)

    def _do(self, asked: Asked, body: bytes) -> Reply:
        condition = asked.query.get("ifGenerationMatch")
        if asked.operation != "start" and self._unmet(asked.place, condition):
            return _UNMET
        reply = self._emulator(body)
        if asked.operation == "start" and "Location" in reply.headers:
            number = parse_qs(urlsplit(reply.headers["Location"]).query)["upload_id"][0]
            self.front.uploads[number] = Upload(asked.place, condition)
        return reply

    def _chunk(self, asked: Asked, body: bytes) -> Reply:
        """Add a part to its upload."""
        upload = self.front.uploads.get(asked.query["upload_id"])
        span = _RANGE.fullmatch(asked.headers.get("content-range", ""))
        if upload is None or span is None:
            return error(404 if upload is None else 400, "notFound", "Not Found")
        start, end = (int(span["start"]), int(span["end"]) + 1) if span["start"] else (upload.received,) * 2
        if start > upload.received:
            return error(400, "invalid", f"Invalid Content-Range: {start}, but {upload.received} bytes are there")
        return upload.end or self._add(upload, body[upload.received - start :], end, span["total"])

    def _add(self, upload: Upload, fresh: bytes, end: int, total: str) -> Reply:
        """Add what is not there yet, up to `end`."""
        last = total == str(end)
        if not last and end <= upload.received:
            return self._so_far(upload)
        if last and self._unmet(upload.place, upload.condition):
            return _UNMET
        span = f"{upload.received}-{end - 1}" if end > upload.received else "*"
        reply = self._emulator(fresh, content_range=f"bytes {span}/{total}")
        if reply.status not in {200, _INCOMPLETE}:
            return reply
        upload.received = end
        upload.end = reply if last else None
        return reply if last else self._so_far(upload)

    @staticmethod
    def _so_far(upload: Upload) -> Reply:
        # The emulator says bytes=0-0 where nothing has arrived.
        return Reply(_INCOMPLETE, {"Range": f"bytes=0-{upload.received - 1}"} if upload.received else {}, b"")

    def _unmet(self, place: str, condition: str | None) -> bool:
        return condition is not None and condition != self._generation(place)

    def _generation(self, place: str) -> str:
        _, bucket, name = place.split("/", 2)
        found = self._look(f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")
        return str(json.loads(found.content)["generation"]) if found.status == 200 else "0"

    def _look(self, path: str) -> Reply:
        with self._connected() as upstream:
            upstream.request("GET", path)
            answer = upstream.getresponse()
            return Reply(answer.status, {}, answer.read())

    def _emulator(self, body: bytes, **changed: str) -> Reply:
        with self._connected() as upstream:
            answer = self._request(upstream, body, **changed)
            return Reply(answer.status, dict(answer.headers), answer.read())

    # --- answering ---

    def _told(self, asked: Asked, reply: Reply) -> Reply:
        if asked.operation == "batch":
            return replace(reply, content=_NO_OBJECT.sub(self._what_is_missing, reply.content))
        if reply.status != 404 or reply.content:
            return reply
        _, bucket, name = asked.place.split("/", 2)
        return error(404, "notFound", self._missing(bucket, name))

    def _what_is_missing(self, found: re.Match[bytes]) -> bytes:
        return json.dumps(self._missing(*json.loads(found[0]).removeprefix("No such object: ").split("/", 1))).encode()

    def _missing(self, bucket: str, name: str) -> str:
        if self._look(f"/storage/v1/b/{bucket}").status == 404:
            return "The specified bucket does not exist."
        return f"No such object: {bucket}/{name}"

    def _refusal(self, fault: Fault, asked: Asked) -> Reply:
        return error(fault.status, fault.code, fault.message or f"Injected for {asked.place}")


class GcsFront(HttpFront):
    """The proxy in front of the emulator.

    Its operations: `insert` (an upload in one request), `start` and `chunk` (one in parts), `get`,
    `download`, `list`, `patch`, `delete`, `batch`, `bucket`.
    """

    exchange = _Exchange

    def __init__(self, upstream_port: int) -> None:
        """Stand in front of an emulator."""
        self.uploads: dict[str, Upload] = {}
        super().__init__(upstream_port)


def error(status: int, reason: str, message: str) -> Reply:
    """Return an error as the service words it."""
    what = {"message": message, "domain": "global", "reason": reason}
    said = {"error": {"code": status, "message": message, "errors": [what]}}
    return Reply(status, _JSON, json.dumps(said).encode())


_UNMET: Final = error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
