"""What has to be right before a Fivetran sync can run: its agent, its private link, its setup tests."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.remotes.fivetran import Fivetran
from airflow_elt_provider.remotes.fivetran_status import Connection
from airflow_elt_provider.remotes.flow import Flow, segment

log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 10
"""Of one hybrid deployment agent (https://fivetran.com/docs/deployment-models/hybrid-deployment, "Limitations")."""
_TEST_SECONDS: Final = 300.0
_CHANGING: Final = frozenset({"CREATING", "UPDATING"})
_BAD_TESTS: Final = frozenset({"FAILED", "JOB_FAILED"})


def run_checks(remote: Fivetran, connection_id: str, checks: Sequence[str]) -> Flow[dict[str, str]]:
    """Run checks, and return a sentence for each.

    :param checks: any of ``agent``, ``private_link``, ``setup_tests``.
    :raises ConfigurationError: for the first that fails, with the remedy.
    :raises TransientError: for what is still coming about.
    """
    known = {"agent": _agent, "private_link": _private_link, "setup_tests": _setup_tests}
    found: dict[str, str] = {}
    if checks:
        connection = yield from remote.connection(connection_id)
        for name in checks:
            found[name] = yield from known[name](remote, connection)
            log.info("Fivetran %s, %s: %s", connection_id, name, found[name])
    return found


def _agent(remote: Fivetran, connection: Connection) -> Flow[str]:
    if not connection.agent_id:
        raise ConfigurationError(
            f"Fivetran's connection {connection.id!r} uses no hybrid deployment agent.",
            hint="choose one in the connection's Setup tab, or leave out the check 'agent'",
        )
    agent = yield from remote.get(f"/v1/hybrid-deployment-agents/{segment(connection.agent_id)}")
    name = f"Agent {agent.get('display_name') or connection.agent_id!r}"
    if not agent.get("online"):
        raise ConfigurationError(
            f"{name} of connection {connection.id!r} is offline; it was last there at {agent.get('last_used_at')}.",
            hint="start its container on the host, and let it reach Fivetran (outbound, port 443)",
        )
    others = [one for one in agent.get("usage") or () if one.get("connection_id") != connection.id]
    if len(others) >= MOST_CONNECTIONS:
        raise ConfigurationError(
            f"{name} serves {len(others)} other connections; {MOST_CONNECTIONS} in all are the limit.",
            hint="move connections to another agent",
        )
    return f"{name} is online and serves {len(others) + 1} connections"


def _private_link(remote: Fivetran, connection: Connection) -> Flow[str]:
    if not connection.private_link_id:
        raise ConfigurationError(
            f"Fivetran's connection {connection.id!r} uses no private link ({connection.networking_method}).",
            hint="choose it in the connection's Setup tab, or leave out the check 'private_link'",
        )
    link = yield from remote.get(f"/v1/private-links/{segment(connection.private_link_id)}")
    name, state = f"Private link {link.get('name') or connection.private_link_id!r}", link.get("state")
    summary = link.get("state_summary") or ""
    if state in _CHANGING:
        raise TransientError(f"{name} is {state}. {summary}")
    if state != "OK":
        raise ConfigurationError(
            f"{name} is {state}. {summary}", hint="accept the endpoint in your cloud account, or mend the service"
        )
    return f"{name} is OK"


def _setup_tests(remote: Fivetran, connection: Connection) -> Flow[str]:
    data = yield from remote.post(f"/v1/connections/{segment(connection.id)}/test", {}, _TEST_SECONDS)
    tests = data.get("setup_tests") or []
    bad = [f"{test.get('title')}: {test.get('message')}" for test in tests if test.get("status") in _BAD_TESTS]
    if bad:
        raise ConfigurationError(
            f"Setup tests of Fivetran's connection {connection.id!r} fail: {'; '.join(bad)}",
            hint="mend what the tests name; they can be run in the connection's Setup tab",
        )
    return f"{len(tests)} setup tests passed"
