"""A fake of what mints Google's tokens: OAuth, IAM Credentials, STS and the metadata server, on one port.

>>> with FakeGoogle() as google:
...     key = google.service_account("elt@proj.iam.gserviceaccount.com", directory / "key.json")
...     google.impersonators["target@proj.iam.gserviceaccount.com"] = {"elt@proj.iam.gserviceaccount.com"}
...     google.metadata_account = "vm@proj.iam.gserviceaccount.com"  # GCE_METADATA_HOST=127.0.0.1:port, before import

Key files name this server as their token_uri. The IAM hosts are fixed in google-auth: reach them through
`connect_proxy`. Tokens carry real signatures; scopes are checked at IAM only, and no account needs to exist there.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from jwt.algorithms import RSAAlgorithm

from tests.fakes.google_tokens import (
    CLOUD_SCOPE,
    LONGEST,
    NAME_PREFIX,
    PROVIDER,
    GoogleTokens,
    federated,
    self_signed,
    unverified,
    verified,
)
from tests.fakes.http_fake import answer

TOKEN_URI = "https://oauth2.googleapis.com/token"  # what google-auth puts into `aud`, whatever the key file's token_uri
IAM_SCOPES = {CLOUD_SCOPE, "https://www.googleapis.com/auth/iam"}
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
FLAVOR = {"Metadata-Flavor": "Google"}
PERMISSIONS = {
    "generateAccessToken": "iam.serviceAccounts.getAccessToken",
    "generateIdToken": "iam.serviceAccounts.getOpenIdToken",
    "signBlob": "iam.serviceAccounts.signBlob",
    "signJwt": "iam.serviceAccounts.signJwt",
}
STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid"
    " authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
TIMEFRAME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    " Check your iat and exp values in the JWT claim."
)
NOT_FOUND = "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title></html>"
SKEW = 300


class Refused(Exception):  # noqa: N818 - an answer, not an error of the fake
    """What Google refuses, in the shape of its OAuth (text) or API (message) errors."""

    def __init__(self, status: int, error: str, message: str = "", details: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.status, self.error, self.message, self.details = status, error, message, list(details)

    def answer(self) -> web.Response:
        """Return the response: of OAuth when there is an error code, else of an API."""
        if self.error:
            return answer({"error": self.error, "error_description": self.message}, self.status)
        error = {"code": self.status, "message": self.message, "status": STATUSES[self.status]}
        return answer({"error": error | ({"details": self.details} if self.details else {})}, self.status)


class FakeGoogle(GoogleTokens):
    """The servers of Google that issue tokens.

    `metadata_account` is whose tokens the metadata server has. With `metadata_keeps` it hands out the same token until
    five minutes before its end, as the real one does: whoever refreshes after a 401 gets the token that was refused.
    """

    def __init__(self, project: str = "proj") -> None:
        super().__init__(project)
        self.metadata_account: str | None = None
        self.metadata_keeps = False
        self._metadata_kept: dict[tuple[str, ...], tuple[str, float]] = {}

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post("/token", self._token),
            web.post("/v1/token", self._exchange),
            web.post("/v1/projects/-/serviceAccounts/{target}", self._iam),
            web.get("/", self._root),
            web.get("/computeMetadata/v1/{path:.*}", self._metadata),
            web.get("/subject-token", self._subject),
            web.get("/certs", self._certs),
            web.get("/jwks", self._jwks),
        ]

    # --- OAuth ---

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            if form.get("grant_type") == JWT_GRANT:
                return answer(self._granted(form.get("assertion", "")))
            if form.get("grant_type") == "refresh_token":
                return answer(self._refreshed(form))
            raise Refused(400, "unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        except Refused as refused:
            return refused.answer()

    def _granted(self, assertion: str) -> dict[str, Any]:
        claims = self._assertion(assertion)
        if not {TOKEN_URI, f"{self.url}/token"} & {claims.get("aud")}:
            raise Refused(
                400, "invalid_grant", f"Invalid JWT: Failed audience check. The right audience is {TOKEN_URI}"
            )
        if "target_audience" in claims:
            return {"id_token": self.id_token(claims["iss"], claims["target_audience"])}
        if not claims.get("scope"):
            raise Refused(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return self._bearer(claims.get("sub", claims["iss"]), claims["scope"])

    def _assertion(self, assertion: str) -> dict[str, Any]:
        try:
            email = str(unverified(assertion).get("iss"))
            if email not in self.keys:
                raise Refused(400, "invalid_grant", "Invalid grant: account not found")
            claims = verified(assertion, self.public_keys(email))
        except jwt.InvalidTokenError:
            raise Refused(400, "invalid_grant", "Invalid JWT Signature.") from None
        issued, ends, now = claims.get("iat", 0), claims.get("exp", 0), self.now()
        if not now < ends <= issued + LONGEST or issued > now + SKEW:
            raise Refused(400, "invalid_grant", TIMEFRAME)
        return claims

    def _refreshed(self, form: Mapping[str, str]) -> dict[str, Any]:
        email = self._refresh.get(form.get("refresh_token", ""))
        if email is None:
            raise Refused(400, "invalid_grant", "Token has been expired or revoked.")
        return self._bearer(email, CLOUD_SCOPE) | {"id_token": self.id_token(email, form.get("client_id", ""))}

    def _bearer(self, principal: str, scope: str) -> dict[str, Any]:
        token = self.access_token(principal, scope.split())
        return {"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer", "scope": scope}

    async def _exchange(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        subject = self._subjects.get(form.get("subject_token", ""))
        if form.get("grant_type") != EXCHANGE_GRANT or form.get("audience") != PROVIDER:
            return Refused(400, "invalid_request", 'Invalid value for "audience".').answer()
        if subject is None:
            return Refused(400, "invalid_grant", "The subject token is not a valid token of the provider.").answer()
        self._minted("federated_token", federated(subject), PROVIDER)
        issued = "urn:ietf:params:oauth:token-type:access_token"
        return answer(self._bearer(federated(subject), form.get("scope", CLOUD_SCOPE)) | {"issued_token_type": issued})

    async def _subject(self, request: web.Request) -> web.Response:
        return answer({"value": request.headers.get("Subject", "")})

    # --- IAM Credentials ---

    async def _iam(self, request: web.Request) -> web.Response:
        email, _, verb = request.match_info["target"].partition(":")
        try:
            if verb not in PERMISSIONS:
                raise Refused(404, "", f"Method not found: {verb}")
            caller = self._caller(request.headers.get("Authorization", ""))
            body = json.loads(await request.read() or b"{}")
            self._allow(caller, email, verb, body.get("delegates") or [])
            return answer(self._issued(email, verb, body))
        except Refused as refused:
            return refused.answer()
        except ValueError:  # no JSON, no base64, no number
            return Refused(400, "", "Invalid JSON payload received.").answer()

    def _caller(self, header: str) -> str:
        kind, _, token = header.partition(" ")
        access = self._access.get(token)
        if kind != "Bearer" or access is None or access.expires < time.time():
            raise Refused(401, "", UNAUTHENTICATED)
        if not access.scopes & IAM_SCOPES:
            raise Refused(403, "", "Request had insufficient authentication scopes.")
        return access.principal

    def _allow(self, caller: str, email: str, verb: str, delegates: list[str]) -> None:
        if any(not name.startswith(NAME_PREFIX) for name in delegates):
            raise Refused(400, "", "Invalid form of account ID. It should be projects/-/serviceAccounts/{email}.")
        chain = [caller, *(name.removeprefix(NAME_PREFIX) for name in delegates), email]
        for holder, target in itertools.pairwise(chain):
            permission = PERMISSIONS[verb] if target == email else "iam.serviceAccounts.implicitDelegation"
            if holder not in self.impersonators.get(target, ()):
                raise Refused(
                    403,
                    "",
                    f"Permission '{permission}' denied on resource (or it may not exist).",
                    [
                        {
                            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                            "reason": "IAM_PERMISSION_DENIED",
                            "domain": "iam.googleapis.com",
                            "metadata": {"permission": permission},
                        }
                    ],
                )

    def _issued(self, email: str, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if verb == "generateAccessToken":
            return self._short_lived(email, body)
        if verb == "generateIdToken":
            included = str(body.get("includeEmail", False)).lower() == "true"  # google-auth itself sends "true" as text
            return {"token": self.id_token(email, required(body, "audience"), include_email=included)}
        if verb == "signJwt":
            key_id, token = self.sign_jwt(email, json.loads(required(body, "payload")))
            return {"keyId": key_id, "signedJwt": token}
        key, key_id = self._managed_key(email)
        self._minted("signed_blob", email, "")
        blob = key.sign(base64.b64decode(required(body, "payload")), padding.PKCS1v15(), hashes.SHA256())
        return {"keyId": key_id, "signedBlob": base64.b64encode(blob).decode()}

    def _short_lived(self, email: str, body: Mapping[str, Any]) -> dict[str, Any]:
        seconds = int(str(body.get("lifetime") or f"{LONGEST}s").rstrip("s"))
        if seconds > LONGEST:
            raise Refused(400, "", "The duration of the token must be less than or equal to 3600s.")
        token = self.access_token(email, required(body, "scope"), seconds)
        ends = datetime.fromtimestamp(self.now() + min(seconds, self.token_seconds), UTC)
        return {"accessToken": token, "expireTime": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}

    # --- the metadata server ---

    async def _root(self, _request: web.Request) -> web.Response:
        return answer("computeMetadata/\n", headers=FLAVOR)

    async def _metadata(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in request.headers:
            return answer("Missing Metadata-Flavor:Google header.\n", 403, FLAVOR)
        path = request.match_info["path"].strip("/")
        facts = {"project/project-id": self.project, "project/numeric-project-id": "1"}
        facts["universe/universe-domain"] = "googleapis.com"
        if path in facts:
            return answer(facts[path], headers=FLAVOR)
        account, _, leaf = path.removeprefix("instance/service-accounts/").partition("/")
        known = path.startswith("instance/service-accounts/") and account in {"default", self.metadata_account}
        if not known or self.metadata_account is None:
            return answer(NOT_FOUND, 404, FLAVOR)
        return self._of_account(self.metadata_account, leaf, request.query)

    def _of_account(self, email: str, leaf: str, query: Mapping[str, str]) -> web.Response:
        if leaf == "token":
            return answer(self._metadata_token(email, query.get("scopes", CLOUD_SCOPE)), headers=FLAVOR)
        if leaf == "identity":
            audience, full = query.get("audience"), query.get("format") == "full"
            if not audience:
                return answer("non-empty audience parameter required", 400, FLAVOR)
            token, _ = self._kept(
                ("identity", email, audience, str(full)), lambda: self.id_token(email, audience, include_email=full)
            )
            return answer(token, headers=FLAVOR)
        if not leaf and query.get("recursive") == "true":
            return answer({"aliases": ["default"], "email": email, "scopes": [CLOUD_SCOPE]}, headers=FLAVOR)
        facts = {"": "aliases\nemail\nidentity\nscopes\ntoken\n", "email": email, "scopes": f"{CLOUD_SCOPE}\n"}
        return answer(facts[leaf], headers=FLAVOR) if leaf in facts else answer(NOT_FOUND, 404, FLAVOR)

    def _metadata_token(self, email: str, scopes: str) -> dict[str, Any]:
        token, ends = self._kept(("token", email, scopes), lambda: self.access_token(email, scopes.split(",")))
        return {"access_token": token, "expires_in": int(ends - time.time()), "token_type": "Bearer"}

    def _kept(self, name: tuple[str, ...], mint: Callable[[], str]) -> tuple[str, float]:
        """Return a token and its end; the same one again, until shortly before, if the metadata server keeps tokens."""
        token, ends = self._metadata_kept.get(name, ("", 0.0))
        if not self.metadata_keeps or ends - time.time() < SKEW:
            token, ends = mint(), time.time() + self.token_seconds
            self._metadata_kept[name] = (token, ends)
        return token, ends

    # --- keys ---

    async def _certs(self, _request: web.Request) -> web.Response:
        return answer({self.key_id: self_signed(self.key)})

    async def _jwks(self, _request: web.Request) -> web.Response:
        key = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return answer({"keys": [{**key, "kid": self.key_id, "alg": "RS256", "use": "sig"}]})


def required(body: Mapping[str, Any], name: str) -> Any:
    """Return a field that Google insists on."""
    if not body.get(name):
        raise Refused(400, "", f"Request contains an invalid argument: {name} is required.")
    return body[name]
