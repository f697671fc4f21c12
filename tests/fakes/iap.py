"""A fake Identity-Aware Proxy in front of an HTTP server.

>>> with FakeIap(google, app.url, members={"elt@proj.iam.gserviceaccount.com"}) as iap:
...     token = google.id_token("elt@proj.iam.gserviceaccount.com", iap.audience)
...     requests.get(iap.url, headers={"Proxy-Authorization": f"Bearer {token}"})

Without a token it redirects to Google's login as the real one does: a GET or HEAD that accepts text/html or */* (curl,
requests and httpx unasked) gets 302; a POST, an XMLHttpRequest or one that accepts only application/json gets 401.
Its refusals are one sentence of plain text that calls itself text/html. A request whose Proxy-Authorization holds no
valid token is judged by its Authorization, if that is a bearer's. Cookies are not understood.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import aiohttp
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from multidict import CIMultiDict
from yarl import URL

from tests.fakes.google import FakeGoogle
from tests.fakes.google_tokens import ISSUER, unverified, verified
from tests.fakes.http_fake import FakeServer

if TYPE_CHECKING:
    from servers.certificates import Certificate

LOGIN = "https://accounts.google.com/o/oauth2/v2/auth"
GENERATED = "x-goog-iap-generated-response"
PROXY_HEADER, OWN_HEADER = "Proxy-Authorization", "Authorization"
HOP_BY_HOP = {"connection", "content-length", "date", "host", "keep-alive", "server", "te", "transfer-encoding"}
EMPTY = "empty token"
UNPARSED = "Unable to parse JWT"
BAD_SIGNATURE = "JWT signature is invalid"
BAD_ISSUER = "Invalid JWT issuer"  # this text is a guess
EXPIRED = "Expired JWT"  # this text is a guess
FUTURE = "JWT issued in the future"  # this text is a guess
TOO_LONG = "JWT lifetime is longer than an hour"  # this text is a guess
NO_EMAIL = "JWT 'email' claim isn't a string"
NOT_PROGRAMMATIC = "Invalid bearer token. Invalid JWT audience."
OTHER_AUDIENCE = "JWT audience doesn't match this application ('aud' claim ({}) doesn't match expected value ({}))"
FORBIDDEN = "<html><title>Error: Access denied</title><h1>You don't have access</h1></html>"
LOGIN_PAGE = "<!DOCTYPE html><html><title>Sign in - Google Accounts</title><form action='/signin'></form></html>"
BAD_GATEWAY = "<html><title>502 Server Error</title><h1>Error: Server Error</h1></html>"
LONGEST = 3600
SKEW = 30


class Answered(NamedTuple):
    """An answered request; `email` and `token_header` are empty where no token was accepted or given."""

    status: int
    email: str
    token_header: str


@dataclass
class Judged:
    """What a token turned out to be, whenever it is shown; `fault` is what is wrong with it at any time."""

    claims: Mapping[str, Any]
    fault: str = ""
    self_signed: bool = False
    assertion: str = ""

    @property
    def email(self) -> Any:
        """Whom it names."""
        return self.claims.get("iss" if self.self_signed else "email")


class FakeIap(FakeServer):
    """Lets `members` with a valid token through to `upstream_url`.

    Tokens: Google's ID tokens for `audience`, and JWTs that a service account signed for `jwt_url`, for the URL asked
    for on that host, or for a pattern "https://host/*".
    """

    def __init__(
        self,
        google: FakeGoogle,
        upstream_url: str,
        audience: str = "123-abc.apps.googleusercontent.com",
        members: Collection[str] = (),
        *,
        jwt_url: str | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(certificate=certificate)
        self.google, self.upstream_url, self.audience, self.jwt_url = google, upstream_url, audience, jwt_url
        self.members = set(members)
        self.programmatic = True  # False: a client that Google manages, with no list of programmatic clients
        self.log: list[Answered] = []
        self._login: int | None = None
        self._judged: dict[str, Judged] = {}
        self._revoked: set[str] = set()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._session: aiohttp.ClientSession | None = None

    @property
    def seen_tokens(self) -> int:
        """How many different tokens were shown."""
        return len(self._judged)

    def login_page(self, status: int | None = 200) -> None:
        """Answer everything with a login page, as after a redirect that was followed; None: no longer."""
        self._login = status

    def expire_seen(self) -> None:
        """Take every token shown so far for expired."""
        with self.lock:
            self._revoked |= set(self._judged)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.route("*", "/{path:.*}", self._guard)]

    # --- whom to let in ---

    async def _guard(self, request: web.Request) -> web.StreamResponse:
        if self._login is not None:
            return self._logged(html(LOGIN_PAGE, self._login), "", "")
        refusal, header, judged = self._accepted(request)
        if judged is None:
            return self._logged(self._unauthenticated(request, refusal), "", header)
        email = str(judged.email)
        if email not in self.members:
            return self._logged(html(FORBIDDEN, 403, {GENERATED: "true"}), email, header)
        return self._logged(await self._forward(request, header, judged), email, header)

    def _logged(self, response: web.StreamResponse, email: str, header: str) -> web.StreamResponse:
        with self.lock:
            self.log.append(Answered(response.status, email, header))
        return response

    def _accepted(self, request: web.Request) -> tuple[str, str, Judged | None]:
        """Return why not, the header that decided, and the token."""
        refusal, header = EMPTY, ""
        for name, token in bearers(request):
            judged, header = self._judge(token), name
            refusal = self._refusal(token, judged, request.path)
            if not refusal:
                return "", header, judged
        return refusal, header, None

    def _judge(self, token: str) -> Judged:
        if token not in self._judged:
            judged = self._examine(token)
            with self.lock:
                self._judged[token] = judged
        return self._judged[token]

    def _examine(self, token: str) -> Judged:
        try:
            issuer = str(unverified(token).get("iss"))
        except jwt.InvalidTokenError:
            return Judged({}, UNPARSED)
        by_google = issuer in {ISSUER, ISSUER.removeprefix("https://")}
        try:
            claims = verified(token, self.google.public_keys(None if by_google else issuer))
        except jwt.InvalidTokenError:
            return Judged({}, BAD_SIGNATURE)
        if not by_google and claims.get("sub") != issuer:
            return Judged(claims, BAD_ISSUER, self_signed=True)
        return Judged(claims, self_signed=not by_google)

    def _refusal(self, token: str, judged: Judged, path: str) -> str:
        if judged.fault:
            return judged.fault
        now, issued, ends = time.time(), judged.claims.get("iat", 0), judged.claims.get("exp", 0)
        if token in self._revoked or ends <= now:
            return EXPIRED
        if issued > now + SKEW:
            return FUTURE
        if judged.self_signed:
            return self._wrong_url(judged.claims, path) or (TOO_LONG if ends > issued + LONGEST else "")
        return self._wrong_client(judged.claims) or ("" if isinstance(judged.email, str) else NO_EMAIL)

    def _wrong_client(self, claims: Mapping[str, Any]) -> str:
        if not self.programmatic:
            return NOT_PROGRAMMATIC
        return "" if claims.get("aud") == self.audience else OTHER_AUDIENCE.format(claims.get("aud"), self.audience)

    def _wrong_url(self, claims: Mapping[str, Any], path: str) -> str:
        audience = str(claims.get("aud"))
        if self.jwt_url is None:
            return NOT_PROGRAMMATIC
        host = "{0.scheme}://{0.netloc}".format(urlsplit(self.jwt_url))
        if audience in {self.jwt_url, host + path} or (
            audience[-2:] == "/*" and (host + path).startswith(audience[:-1])
        ):
            return ""
        return OTHER_AUDIENCE.format(audience, self.jwt_url)

    def _unauthenticated(self, request: web.Request, reason: str) -> web.Response:
        headers = {GENERATED: "true"}
        status = 401
        if reason == EMPTY and like_a_browser(request):
            query = {
                "client_id": self.audience,
                "response_type": "code",
                "scope": "openid email",
                "redirect_uri": f"https://iap.googleapis.com/v1/oauth/clientIds/{self.audience}:handleRedirect",
                "cred_ref": "true",
            }
            status, headers["Location"] = 302, f"{LOGIN}?{urlencode(query)}"
        return html(f"Invalid IAP credentials: {reason}", status, headers)

    # --- what is passed on ---

    async def _forward(self, request: web.Request, header: str, judged: Judged) -> web.Response:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            )
        url = URL(self.upstream_url + request.raw_path, encoded=True)
        headers = self._headers(request, header, judged)
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=await request.read() or None, allow_redirects=False
            ) as own:
                kept = CIMultiDict(pair for pair in own.headers.items() if pair[0].lower() not in HOP_BY_HOP)
                return web.Response(body=await own.read(), status=own.status, headers=kept)
        except aiohttp.ClientError:
            return html(BAD_GATEWAY, 502)

    def _headers(self, request: web.Request, header: str, judged: Judged) -> dict[str, str]:
        dropped = HOP_BY_HOP | {PROXY_HEADER.lower(), header.lower()}
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in dropped and not name.lower().startswith("x-goog-")
        }
        return kept | {
            "x-goog-authenticated-user-email": f"accounts.google.com:{judged.email}",
            "x-goog-iap-jwt-assertion": self._assertion(judged),
        }

    def _assertion(self, judged: Judged) -> str:
        if not judged.assertion:
            now = int(time.time())
            claims = {
                "iss": "https://cloud.google.com/iap",
                "aud": "/projects/1/global/backendServices/1",
                "sub": f"accounts.google.com:{judged.claims.get('sub')}",
                "email": judged.email,
                "iat": now,
                "exp": now + 600,
            }
            judged.assertion = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "iap"})
        return judged.assertion

    async def _end(self) -> None:
        session, self._session = self._session, None
        await super()._end()
        if session:
            await session.close()


def bearers(request: web.Request) -> list[tuple[str, str]]:
    """Return the headers that hold a bearer's token, in the order they are tried."""
    found = []
    for header in (PROXY_HEADER, OWN_HEADER):
        kind, _, token = request.headers.get(header, "").partition(" ")
        if kind.lower() == "bearer" and token.strip():
            found.append((header, token.strip()))
    return found


def like_a_browser(request: web.Request) -> bool:
    """Whether a redirect to the login may help the one who asks."""
    accepted = request.headers.get("Accept", "*/*")
    by_script = request.headers.get("X-Requested-With", "").lower() == "xmlhttprequest"
    return request.method in {"GET", "HEAD"} and not by_script and ("text/html" in accepted or "*/*" in accepted)


def html(text: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a response that calls itself HTML."""
    return web.Response(text=text, status=status, headers=headers, content_type="text/html")
