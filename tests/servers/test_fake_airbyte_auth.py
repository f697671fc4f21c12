"""Who may talk to the fake Airbyte."""

from __future__ import annotations

import requests

from tests.fakes.airbyte import FakeAirbyte
from tests.servers.airbyte_calls import public, token


def test_basic_guards_everything():
    with FakeAirbyte(public=False, config="0.40", auth="basic", user="u", password="p:ä") as server:
        url = f"{server.url}/api/v1/health"
        for wrong in (None, ("u", "p"), ("x", "p:ä")):
            response = requests.get(url, auth=wrong, timeout=10)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic")
            assert "x-goog-iap-generated-response" not in response.headers
        assert requests.get(url, auth=(b"u", "p:ä".encode()), timeout=10).status_code == 200
        assert server.refused == 3


def test_a_fixed_token():
    with FakeAirbyte(auth="bearer", token="t0ken") as server:
        assert public(server, "GET", "/health").status_code == 200
        refused = public(server, "GET", "/jobs", headers={"Authorization": "Bearer other"})
        assert (refused.status_code, refused.json()["message"]) == (401, "Unauthorized")
        assert public(server, "GET", "/jobs", headers={"Authorization": "Bearer t0ken"}).status_code == 200


def test_tokens():
    with FakeAirbyte(config="current", auth="client_credentials", token_seconds=900) as server:
        assert token(server, "wrong").status_code == 401
        got = token(server).json()
        assert (got["token_type"], got["expires_in"]) == ("Bearer", 900)
        bearer = {"Authorization": f"Bearer {got['access_token']}"}
        assert public(server, "GET", "/jobs", headers=bearer).status_code == 200
        url = f"{server.url}/api/v1/workspaces/list"
        assert requests.post(url, json={}, headers=bearer, timeout=10).status_code == 200
        assert requests.post(url, json={}, timeout=10).status_code == 401
        server.advance(901)
        assert public(server, "GET", "/jobs", headers=bearer).status_code == 401
        assert server.token_mints == 1


def test_a_token_asked_for_by_a_form_and_its_other_spelling():
    with FakeAirbyte(auth="client_credentials") as server:
        body = {"client_id": "client", "client_secret": "secret", "grant-type": "client_credentials"}
        assert token(server, data=body).status_code == token(server, json=body).status_code == 200
        assert token(server, json={**body, "grant-type": "password"}).status_code == 400
        assert token(server, data=b"{", headers={"Content-Type": "application/json"}).status_code == 400


def test_tokens_of_another_server_are_refused():
    with (
        FakeAirbyte(auth="client_credentials", token_key="a") as one,
        FakeAirbyte(auth="client_credentials", token_key="b") as two,
    ):
        bearer = {"Authorization": f"Bearer {token(one).json()['access_token']}"}
        assert public(one, "GET", "/jobs", headers=bearer).status_code == 200
        assert public(two, "GET", "/jobs", headers=bearer).status_code == 401
        one.revoke_tokens()
        assert public(one, "GET", "/jobs", headers=bearer).status_code == 401
        for odd in ("Bearer", "Bearer a.b.c", "Bearer ä".encode(), "Basic x"):
            assert public(one, "GET", "/jobs", headers={"Authorization": odd}).status_code == 401
