"""Both ways to drive a flow, in a process without tokens, proxies, authorities or credentials of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_elt_provider.remotes.tokens import TOKENS
from tests.remotes.config_airbyte_bench import bench, dialect, public
from tests.remotes.driving import Driver, driven_by_httpx, driven_by_requests
from tests.remotes.google_at_hand import echo, google, hosts, iap, key, key_file, one_echo, one_google, strange_key

__all__ = [
    "bench", "dialect", "echo", "google", "hosts", "iap", "key", "key_file", "one_echo", "one_google", "public",
    "strange_key",
]  # fmt: skip
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_GOOGLE = ("GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST", "CLOUDSDK_CONFIG")


@pytest.fixture(params=["requests", "httpx"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Drive a flow to its end, as a worker does and as a triggerer does: `driver(flow, settings)`."""
    return driven_by_requests if request.param == "requests" else driven_by_httpx


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*_PROXIES, *_BUNDLES, *_GOOGLE, "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    yield
    TOKENS._places.clear()
