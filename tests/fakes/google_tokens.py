"""What the fake Google issues: tokens with real signatures, and the files that credentials are read from."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.fakes.http_fake import FakeServer

ISSUER = "https://accounts.google.com"
CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool"
PROVIDER = f"{POOL}/providers/provider"
NAME_PREFIX = "projects/-/serviceAccounts/"
LONGEST = 3600


@dataclass(frozen=True)
class Mint:
    """Something issued: access_token, id_token, federated_token, signed_jwt or signed_blob."""

    kind: str
    email: str
    audience: str
    at: float


@dataclass(frozen=True)
class Access:
    """Whom an access token stands for."""

    principal: str
    scopes: frozenset[str]
    expires: float


class GoogleTokens(FakeServer):
    """Accounts and tokens. `keys` holds every key of every service account; empty an account's to revoke them."""

    def __init__(self, project: str = "proj") -> None:
        super().__init__()
        self.project = project
        self.token_seconds = LONGEST
        self.clock_offset = 0  # seconds that Google's clock is ahead of ours, in all that it issues
        self.mints: list[Mint] = []
        self.impersonators: dict[str, set[str]] = {}  # target -> who may act as it; nobody may as itself unasked
        self.key, self.key_id = new_key()
        self.keys: dict[str, dict[str, rsa.RSAPrivateKey]] = {}
        self._managed: dict[str, tuple[rsa.RSAPrivateKey, str]] = {}
        self._access: dict[str, Access] = {}
        self._refresh: dict[str, str] = {}
        self._subjects: dict[str, str] = {}

    # --- files that credentials are read from ---

    def service_account(self, email: str, path: Path) -> Path:
        """Give an account one more key, and write its key file."""
        key, key_id = new_key()
        with self.lock:
            self.keys.setdefault(email, {})[key_id] = key
        content = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": key_id,
            "private_key": pem(key),
            "client_email": email,
            "client_id": unique_id(email),
            "token_uri": f"{self.url}/token",
            "universe_domain": "googleapis.com",
        }
        return write(path, content)

    def authorized_user(self, email: str, path: Path) -> Path:
        """Write the file of `gcloud auth application-default login`; google-auth asks only oauth2.googleapis.com."""
        token = f"1//{secrets.token_urlsafe(16)}"
        with self.lock:
            self._refresh[token] = email
        who = {"client_id": "1-gcloud.apps.googleusercontent.com", "client_secret": "not-secret"}
        return write(path, {"type": "authorized_user", "refresh_token": token} | who)

    def external_account(self, path: Path, *, subject: str = "workload", impersonate: str | None = None) -> Path:
        """Write a workload identity configuration; IAM knows its caller as `federated(subject)`."""
        token = secrets.token_urlsafe(16)
        with self.lock:
            self._subjects[token] = subject
        content: dict[str, Any] = {
            "type": "external_account",
            "audience": PROVIDER,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.url}/v1/token",
            "credential_source": {
                "url": f"{self.url}/subject-token",
                "headers": {"Subject": token},
                "format": {"type": "json", "subject_token_field_name": "value"},
            },
        }
        if impersonate:
            content["service_account_impersonation_url"] = self._impersonation_url(impersonate)
        return write(path, content)

    def impersonated_file(self, path: Path, target: str, source: Path, *, delegates: Iterable[str] = ()) -> Path:
        """Write a configuration that acts as `target` from the credentials of the file `source`."""
        content = {
            "type": "impersonated_service_account",
            "service_account_impersonation_url": self._impersonation_url(target),
            "delegates": [NAME_PREFIX + email for email in delegates],
            "source_credentials": json.loads(source.read_text()),
        }
        return write(path, content)

    def _impersonation_url(self, email: str) -> str:
        return f"{self.url}/v1/{NAME_PREFIX}{email}:generateAccessToken"

    # --- tokens ---

    def now(self) -> int:
        """Google's clock."""
        return int(time.time()) + self.clock_offset

    def id_token(self, email: str, audience: str, *, include_email: bool = True, **claims: Any) -> str:
        """Mint an ID token; `claims` replace those it would have."""
        now, subject = self.now(), unique_id(email)
        content = {"iss": ISSUER, "aud": audience, "azp": subject, "sub": subject, "iat": now}
        content["exp"] = now + self.token_seconds
        if include_email:
            content |= {"azp": email, "email": email, "email_verified": True}
        self._minted("id_token", email, audience)
        return signed(content | claims, self.key, self.key_id)

    def access_token(self, principal: str, scopes: Collection[str] = (CLOUD_SCOPE,), seconds: int = LONGEST) -> str:
        """Mint an access token, for no longer than `token_seconds`."""
        token = f"ya29.{secrets.token_urlsafe(24)}"
        expires = time.time() + min(seconds, self.token_seconds)
        with self.lock:
            self._access[token] = Access(principal, frozenset(scopes), expires)
        self._minted("access_token", principal, " ".join(scopes))
        return token

    def sign_jwt(self, email: str, claims: Mapping[str, Any]) -> tuple[str, str]:
        """Sign with the account's key that Google keeps; return the key's id and the JWT."""
        key, key_id = self._managed_key(email)
        self._minted("signed_jwt", email, str(claims.get("aud", "")))
        return key_id, signed(claims, key, key_id)

    def public_keys(self, email: str | None = None) -> dict[str, rsa.RSAPublicKey]:
        """Return the keys that check a service account's signatures, or Google's own, by key id."""
        with self.lock:
            keys = {self.key_id: self.key} if email is None else dict(self.keys.get(email, {}))
        return {key_id: key.public_key() for key_id, key in keys.items()}

    def _minted(self, kind: str, email: str, audience: str) -> None:
        with self.lock:
            self.mints.append(Mint(kind, email, audience, time.time()))

    def _managed_key(self, email: str) -> tuple[rsa.RSAPrivateKey, str]:
        with self.lock:
            if email not in self._managed:
                self._managed[email] = new_key()
            key, key_id = self._managed[email]
            self.keys.setdefault(email, {})[key_id] = key
            return key, key_id


def federated(subject: str) -> str:
    """Return the name IAM has for a subject of the workload identity pool."""
    return f"principal:{POOL}/subject/{subject}"


def new_key() -> tuple[rsa.RSAPrivateKey, str]:
    """Return a private key and its id."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048), secrets.token_hex(20)


def unique_id(email: str) -> str:
    """Return the number that stands for an account, always the same one."""
    return str(10**20 + int(sha256(email.encode()).hexdigest(), 16) % 10**20)


def signed(claims: Mapping[str, Any], key: rsa.RSAPrivateKey, key_id: str) -> str:
    """Return a JWT."""
    return jwt.encode(dict(claims), key, algorithm="RS256", headers={"kid": key_id})


def unverified(token: str) -> dict[str, Any]:
    """Return what a JWT claims."""
    return dict(jwt.decode(token, options={"verify_signature": False}))


def verified(token: str, keys: Mapping[str, rsa.RSAPublicKey]) -> dict[str, Any]:
    """Return what a JWT claims if one of the keys signed it; times and audience are for the caller to check."""
    key = keys.get(str(jwt.get_unverified_header(token).get("kid")))
    if key is None:
        raise jwt.InvalidSignatureError("no such key")
    unchecked = {f"verify_{claim}": False for claim in ("aud", "exp", "iat", "iss", "jti", "nbf", "sub")}
    return dict(jwt.decode(token, key, algorithms=["RS256"], options=unchecked))


def write(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a file of credentials."""
    path.write_text(json.dumps(content, indent=2))
    path.chmod(0o600)
    return path


def pem(key: rsa.RSAPrivateKey) -> str:
    """Return a private key as it stands in key files."""
    kind, unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, unencrypted).decode()


def self_signed(key: rsa.RSAPrivateKey) -> str:
    """Return the certificate that Google publishes for a key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
    now = datetime.now(UTC)
    certificate = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=14),
    ).sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
