"""Who may talk to the fake Airbyte: nobody asked, a user and password, application tokens, or one fixed token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

from aiohttp import web

from tests.fakes.http_fake import answer

Way = Literal["none", "basic", "client_credentials", "bearer"]
PUBLIC, CONFIG = "/api/public/v1", "/api/v1"
TOKEN_PATHS = (f"{PUBLIC}/applications/token", f"{CONFIG}/applications/token")
OPEN_PATHS = frozenset({*TOKEN_PATHS, f"{PUBLIC}/health", f"{CONFIG}/health"})
LOGIN_WANTED = (
    "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body>\r\n"
    "<center><h1>401 Authorization Required</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


@dataclass
class Doorkeeper:
    """Tells callers apart.

    Basic is the proxy in front of everything, so it also guards the health checks and the web interface; with tokens
    those and the token endpoint are open. Tokens carry their end and a signature made with `token_key`: a second
    server with the same key accepts them, any other refuses them.
    """

    way: Way
    user: str
    password: str
    client_id: str
    client_secret: str
    token: str
    token_seconds: float
    token_key: str
    now: Callable[[], float]
    mints: int = 0
    refused: int = 0
    _serial: int = field(default=0, repr=False)

    def refusal(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request, or None."""
        if self._admits(request):
            return None
        self.refused += 1
        if self.way == "basic":
            return answer(LOGIN_WANTED, 401, {"WWW-Authenticate": 'Basic realm="Welcome to Airbyte"'})
        return _unauthorized(request.path)

    def mint(self, request: web.Request, body: bytes) -> web.Response:
        """Answer a request for a token."""
        try:
            asked = _read(request, body)
        except ValueError:
            return answer({"message": "Invalid JSON"}, 400)
        grant = asked.get("grant_type") or asked.get("grant-type") or "client_credentials"
        if grant != "client_credentials":
            return answer({"message": f"Unsupported grant type: {grant}"}, 400)
        if (asked.get("client_id"), asked.get("client_secret")) != (self.client_id, self.client_secret):
            self.refused += 1
            return _unauthorized(request.path)
        self.mints += 1
        return answer({"access_token": self.new_token(), "token_type": "Bearer", "expires_in": int(self.token_seconds)})

    def new_token(self) -> str:
        """Make a token without counting it."""
        self._serial += 1
        claims = {"sub": self.client_id, "exp": self.now() + self.token_seconds, "jti": self._serial}
        head, body = _encoded(b'{"alg":"HS256","typ":"JWT"}'), _encoded(json.dumps(claims).encode())
        return f"{head}.{body}.{self._signature(f'{head}.{body}')}"

    def revoke(self) -> None:
        """Refuse every token made so far, as after a change of the server's secret."""
        self.token_key = secrets.token_hex()

    def _admits(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self.way == "none":
            return True
        if self.way == "basic":
            return scheme.lower() == "basic" and _decoded(given) == f"{self.user}:{self.password}".encode()
        if request.path in OPEN_PATHS or not request.path.startswith("/api/"):
            return True
        if scheme.lower() != "bearer":
            return False
        return given == self.token if self.way == "bearer" else self._valid(given)

    def _valid(self, token: str) -> bool:
        signed, _, signature = token.rpartition(".")
        if not signed or not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return False
        claims = json.loads(_decoded(signed.partition(".")[2]) or b"{}")
        return float(claims.get("exp", 0)) > self.now()

    def _signature(self, text: str) -> str:
        return _encoded(hmac.digest(self.token_key.encode(), text.encode(), hashlib.sha256))


def _read(request: web.Request, body: bytes) -> dict[str, Any]:
    if request.content_type == "application/json":
        asked = json.loads(body)
        return asked if isinstance(asked, dict) else {}
    return {name: values[-1] for name, values in parse_qs(body.decode()).items()}


def _unauthorized(path: str) -> web.Response:
    body = {
        "_links": {"self": [{"href": path, "templated": False}]},
        "_embedded": {"errors": [{"message": "Unauthorized"}]},
        "message": "Unauthorized",
    }
    return answer(body, 401)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes | None:
    """Read base64 of both alphabets, padded or not."""
    try:
        plain = text.translate(str.maketrans("-_", "+/")).rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
