"""Ways to Slack: through Airflow's own provider where it is installed, or straight to an incoming webhook."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_elt_provider._compat import Connection
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.hooks.connection import airflow_connection, extras

_TRIES: Final = 3
_LONGEST_WAIT: Final = 30.0
"""Seconds that Slack may have us wait: the task's worker waits too."""
_TOO_MANY: Final = 429
_OK: Final = 200
_DEFAULT_HOST: Final = "https://hooks.slack.com/services"


@dataclass(frozen=True)
class Answer:
    """What Slack said."""

    status: int
    headers: Mapping[str, str]
    text: str


Post = Callable[[dict[str, Any]], Answer]


def deliver(conn_id: str, channel: str | None, body: dict[str, Any], timeout: float) -> None:
    """Post a message; when Slack asks for patience, wait as long as it says, a few times.

    :raises ConfigurationError: for a connection that cannot be meant, or that Slack refuses.
    :raises TransientError: when Slack cannot be reached, or goes on asking for patience.
    """
    connection = airflow_connection(conn_id)
    post = _way(connection, conn_id, timeout)
    told = {**body, "channel": channel} if channel and connection.conn_type == "slack" else body
    for attempt in range(1, _TRIES + 1):
        answer = post(told)
        if answer.status == _OK:
            return
        if answer.status != _TOO_MANY or attempt == _TRIES:
            break
        time.sleep(min(_LONGEST_WAIT, _seconds(answer.headers)))
    if answer.status == _TOO_MANY or answer.status >= 500:  # noqa: PLR2004 - what HTTP calls the server's own fault
        raise TransientError(f"Slack answered {answer.status}, {attempt} times.")
    raise ConfigurationError(
        f"Slack refused the message: {answer.status} {answer.text[:200]}", hint=f"correct connection {conn_id!r}"
    )


def _way(connection: Connection, conn_id: str, timeout: float) -> Post:
    if connection.conn_type == "slackwebhook":
        _secret(connection, conn_id)
    try:
        if connection.conn_type == "slack":
            return _by_api(conn_id, timeout)
        if connection.conn_type == "slackwebhook":
            return _by_provider(conn_id, timeout)
    except ModuleNotFoundError as error:
        if connection.conn_type == "slack":
            raise ConfigurationError(
                f"Connection {conn_id!r} is of Slack's API, and {error.name} is missing.",
                hint="pip install apache-airflow-providers-slack, or use an incoming webhook",
            ) from None
    return _by_webhook(_address(connection, conn_id), extras(connection), timeout)


def _by_provider(conn_id: str, timeout: float) -> Post:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    client: Any = SlackWebhookHook(slack_webhook_conn_id=conn_id, **_client(timeout)).client

    def post(body: dict[str, Any]) -> Answer:
        try:
            answer = client.send_dict(body)
        except OSError as error:
            raise _unreachable(error) from None
        return Answer(answer.status_code, _lower(answer.headers), answer.body)

    return post


def _client(timeout: float) -> dict[str, Any]:
    """Return the options of a client that repeats nothing by itself, and does not write the address into the log."""
    quiet = logging.getLogger(f"{__name__}.client")
    quiet.setLevel(logging.ERROR)
    return {"timeout": int(timeout) or 1, "retry_handlers": [], "logger": quiet}


def _by_api(conn_id: str, timeout: float) -> Post:
    from airflow.providers.slack.hooks.slack import SlackHook
    from slack_sdk.errors import SlackApiError

    client: Any = SlackHook(slack_conn_id=conn_id, **_client(timeout)).client

    def post(body: dict[str, Any]) -> Answer:
        try:
            answer = client.api_call("chat.postMessage", json=body)
        except SlackApiError as error:
            told: Any = error.response
            status = told.status_code if told.status_code != _OK else 400
            return Answer(status, _lower(told.headers), str(told.get("error", "")))
        except OSError as error:
            raise _unreachable(error) from None
        return Answer(answer.status_code, _lower(answer.headers), "")

    return post


def _by_webhook(address: str, extra: Mapping[str, Any], timeout: float) -> Post:
    import requests

    proxies = {"http": extra["proxy"], "https": extra["proxy"]} if extra.get("proxy") else None

    def post(body: dict[str, Any]) -> Answer:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        try:
            answer = requests.post(
                address, data=json.dumps(body), headers=headers, timeout=timeout, proxies=proxies, allow_redirects=False
            )
        except requests.RequestException as error:
            raise _unreachable(error) from None
        return Answer(answer.status_code, _lower(answer.headers), answer.text)

    return post


def _secret(connection: Connection, conn_id: str) -> str:
    secret = (connection.password or "").strip()
    if not secret:
        raise ConfigurationError(
            f"Connection {conn_id!r} has no password.",
            hint="put the webhook's URL, or what follows /services/ in it, into the password: only that is hidden",
        )
    return secret


def _address(connection: Connection, conn_id: str) -> str:
    """Return the webhook's address, as Airflow's own provider reads it.

    :raises ConfigurationError: when its secret part is not in the field that Airflow hides.
    """
    secret = _secret(connection, conn_id)
    if "://" in secret:
        return secret
    host = connection.host or ""
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}" if host else _DEFAULT_HOST
    if connection.port and "://" not in host:
        base += f":{connection.port}"
    return f"{base.rstrip('/')}/{secret.lstrip('/')}"


def _unreachable(error: Exception) -> TransientError:
    # Without the error's text: it holds the address, and that is the secret.
    return TransientError(f"Slack could not be reached: {type(error).__name__}.")


def _lower(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in (headers or {}).items()}


def _seconds(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return 1.0
