"""What a Hologres instance is, and how it would merge."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_elt_provider.connectors.hologres.session import HologresServer
from airflow_elt_provider.core.doctor import Finding, note, ok


def examine(server: HologresServer) -> Iterator[Finding]:
    """Check that the instance lets us in. Its permission models cannot be asked the way PostgreSQL's can."""
    with server.session("examining the instance") as session:
        version = ".".join(map(str, server.version(session)))
        yield ok("connect", f"Hologres {version} at {server.settings}")
        if server.transactional(session):
            yield ok("commit", "merges run in transactions")
        else:
            yield note(
                "commit", "merges run without transactions: only mode='merge', with deletes='ignore' or 'soft'",
                "use an instance of version 2.0 or later with elt_transactions='auto'",
            )  # fmt: skip
