"""Tells a channel of Slack how a task or a DAG ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_elt_provider._compat import BaseNotifier
from airflow_elt_provider.errors import EltError
from airflow_elt_provider.notifications._ending import ending_of
from airflow_elt_provider.notifications._slack_text import message

log = logging.getLogger(__name__)


class EltSlackNotifier(BaseNotifier):
    """A callback of a task or a DAG: table, reason, remedy, run, try and a link to the log, or the counts of a success.

    For ``on_failure_callback``, ``on_retry_callback`` and ``on_success_callback``. A Slack that cannot be reached is
    said in the task's log and fails nothing.

    :param slack_conn_id: a connection of type ``slackwebhook`` or ``http`` (an incoming webhook: its URL, or what
        follows ``/services/`` in it, is the password), or ``slack`` (an API token; needs Airflow's Slack provider).
    :param channel: with an API token: where to post. (templated)
    :param note: a text of your own. (templated)
    :param mention: whom to call, in Slack's own writing: ``<!here>``, ``<@U012AB3CD>``. (templated)
    :param timeout: seconds that Slack may take to answer.
    """

    template_fields: Sequence[str] = ("channel", "note", "mention")

    def __init__(
        self,
        *,
        slack_conn_id: str = "slack_default",
        channel: str | None = None,
        note: str = "",
        mention: str = "",
        timeout: float = 10.0,
    ) -> None:
        super().__init__()
        self.slack_conn_id = slack_conn_id
        self.channel = channel
        self.note = note
        self.mention = mention
        self.timeout = timeout

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render what is a template, each on its own: one that is broken must not keep the message back.

        `dag.test()` of Airflow 3 hands over a DAG that cannot render.
        """
        for name in self.template_fields:
            text = getattr(self, name)
            if "{" in str(text or ""):
                setattr(self, name, self._rendered(name, text, context, jinja_env))

    def _rendered(self, name: str, text: str, context: Any, jinja_env: Any) -> str:
        try:
            rendered: str = self.render_template(
                text, context, jinja_env or self.get_template_env(dag=context.get("dag"))
            )
        except Exception as error:  # noqa: BLE001 - a template may do anything
            log.warning("%s=%r cannot be rendered, Slack is told without it: %s", name, text, type(error).__name__)
            return ""
        return rendered

    def notify(self, context: Mapping[str, Any]) -> None:
        """Post the message."""
        try:
            self._post(context)
        except EltError as error:
            log.warning("Slack was not told: %s", error)
        except Exception as error:  # noqa: BLE001 - of whatever client there is; its text may hold the address
            log.warning("Slack was not told: %s", type(error).__name__)

    def _post(self, context: Mapping[str, Any]) -> None:
        from airflow_elt_provider.notifications._slack_post import deliver

        ending = ending_of(context, self)
        # Before anything is cut: half a secret would not be known as one.
        told = replace(ending, reason=_masked(ending.reason), remedy=_masked(ending.remedy))
        deliver(self.slack_conn_id, self.channel, message(told, _masked(self.note), self.mention), self.timeout)


def _masked(text: str) -> str:
    """Return a text without the secrets that Airflow knows of."""
    from airflow.providers.common.compat.sdk import redact

    return str(redact(text))
