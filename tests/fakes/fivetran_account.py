"""How a fake Fivetran answers about what is no connection: groups, agents, private links, webhooks."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes.fivetran_control import FivetranControl
from tests.fakes.fivetran_objects import Agent, PrivateLink, Webhook
from tests.fakes.fivetran_secrets import MASK
from tests.fakes.fivetran_wire import RefusedError, found, list_of, needs, refuse_other, success

CLOUDS = ("AWS", "AZURE", "GCP")
ENVIRONMENTS = {"DOCKER", "PODMAN", "KUBERNETES", "SNOWPARK"}
HOOK = {"url", "events", "active", "secret"}
EVENTS = {
    "sync_start", "sync_end", "status", "dbt_run_start", "dbt_run_succeeded", "dbt_run_failed", "create_connector",
    "pause_connector", "resume_connector", "edit_connector", "delete_connector", "force_update_connector",
    "resync_connector", "resync_table", "connection_successful", "connection_failure",
}  # fmt: skip


class AccountCalls(FivetranControl):
    """All that is not below a connection."""

    # --- groups ---

    def list_groups(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """All groups."""
        return list_of(request, [group.row() for group in self.groups.values()])

    def get_group(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """One group."""
        return success(found(request, self.groups, "Group").row())

    def create_group(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Make a group; its name is letters, digits and underscores, and no other's."""
        needs(body, "name")
        name = body["name"]
        if not name.isascii() or not name.isidentifier():
            raise RefusedError(400, "InvalidInput", "name can only contain letters, numbers, or underscores")
        if name in {group.name for group in self.groups.values()}:
            raise RefusedError(400, "InvalidInput", f"A group with the name '{name}' already exists")
        return success(self.groups[self.add_group(name)].row(), "Group has been created", 201)

    def delete_group(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Delete a group without connections."""
        group = found(request, self.groups, "Group")
        if any(one.group_id == group.id for one in self.connections.values()):
            raise RefusedError(409, "Conflict", "The group has connections")
        del self.groups[group.id]
        return success(message=f"Group with id '{group.id}' has been deleted")

    # --- agents ---

    def list_agents(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """All agents, or those of a group."""
        group = request.query.get("groupId")
        return list_of(
            request, [self._agent(agent) for agent in self.agents.values() if group in {None, agent.group_id}]
        )

    def get_agent(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """One agent; never its credentials."""
        return success(self._agent(found(request, self.agents, "HybridDeploymentAgent")))

    def create_agent(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Make an agent; this answer alone has its credentials."""
        needs(body, "display_name", "env_type")
        refuse_other(body, {"group_id", "display_name", "env_type", "accept_terms", "auth_type"})
        if body.get("accept_terms") is not True:
            raise RefusedError(400, "InvalidInput", "accept_terms must be true")
        if body["env_type"] not in ENVIRONMENTS:
            raise RefusedError(400, "InvalidInput", f"env_type must be one of {sorted(ENVIRONMENTS)}")
        group_id = body.get("group_id") or min(self.groups)
        if group_id not in self.groups:
            raise RefusedError(404, "NotFound_Group", f"Cannot find group with id '{group_id}'")
        agent = self.agents[self.add_agent(online=False, group_id=group_id)]
        agent.display_name, agent.env_type = body["display_name"], body["env_type"]
        agent.auth_type = self._auth_type(body)
        return success(agent.with_credentials(), "Hybrid Deployment Agent has been created", 201)

    def re_auth_agent(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Give an agent new credentials, which this answer has."""
        agent = found(request, self.agents, "HybridDeploymentAgent")
        agent.auth_type, agent.issued = self._auth_type(body), agent.issued + 1
        return success(agent.with_credentials())

    def reset_agent(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Let the credentials of an agent be worth nothing; there are no new ones in the answer."""
        agent = found(request, self.agents, "HybridDeploymentAgent")
        agent.issued, agent.online = agent.issued + 1, False
        return success(message="Credentials have been reset")

    def delete_agent(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Delete an agent."""
        del self.agents[found(request, self.agents, "HybridDeploymentAgent").id]
        return success(message="Hybrid Deployment Agent has been deleted")

    def _agent(self, agent: Agent) -> dict[str, Any]:
        return agent.row([one for one in self.connections.values() if one.uses(agent.id)])

    def _auth_type(self, body: dict[str, Any]) -> str:
        if body.get("auth_type", "AUTO") not in {"AUTO", "MANUAL"}:
            raise RefusedError(400, "InvalidInput", "auth_type must be AUTO or MANUAL")
        return str(body.get("auth_type", "AUTO"))

    # --- private links ---

    def list_links(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """All private links."""
        return list_of(request, [link.row() for link in self.private_links.values()])

    def get_link(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """One private link."""
        return success(self._link(request).row())

    def create_link(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Begin to make a private link."""
        needs(body, "name", "region", "service", "config")
        refuse_other(body, {"name", "region", "service", "config"})
        if not body["region"].startswith(CLOUDS) or not body["service"].endswith(CLOUDS):
            raise RefusedError(400, "InvalidInput", "region or service is not supported")
        if not isinstance(body["config"], dict):
            raise RefusedError(400, "InvalidInput", "config must be an object")
        link = self.private_links[self.add_private_link(**body)]
        self._changing_link(link, "CREATING")
        return success(link.row(), "Private link has been created", 201)

    def patch_link(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Begin to change the configuration of a private link; nothing else of it can be changed."""
        link = self._link(request)
        refuse_other(body, {"config"})
        link.config = {**link.config, **body.get("config", {})}
        self._changing_link(link, "UPDATING")
        return success(link.row(), "Private link has been updated")

    def delete_link(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Delete a private link."""
        del self.private_links[self._link(request).id]
        return success(message="Private link has been deleted")

    def _link(self, request: web.Request) -> PrivateLink:
        return found(request, self.private_links, "PrivateLink")

    # --- webhooks ---

    def list_webhooks(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """All webhooks, of the account and of groups."""
        return list_of(request, [hook.row() for hook in self.webhooks.values()])

    def get_webhook(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """One webhook."""
        return success(self._webhook(request).row())

    def create_account_webhook(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Make a webhook of the account; the answer's status is 200."""
        return self._new_webhook(body, None)

    def create_group_webhook(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Make a webhook of a group."""
        return self._new_webhook(body, found(request, self.groups, "Group").id)

    def patch_webhook(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Change what is named; a mask leaves the secret as it is."""
        hook = self._webhook(request)
        self._check_webhook(body)
        hook.url, hook.active = body.get("url", hook.url), body.get("active", hook.active)
        hook.events = list(body.get("events", hook.events))
        if body.get("secret", MASK) != MASK:
            hook.secret = body["secret"]
        return success(hook.row(), "Webhook has been updated")

    def delete_webhook(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Delete a webhook."""
        del self.webhooks[self._webhook(request).id]
        return success(message="Webhook has been deleted")

    def _new_webhook(self, body: dict[str, Any], group_id: str | None) -> web.Response:
        needs(body, "url", "events")
        self._check_webhook(body)
        active, secret = body.get("active", True), body.get("secret")
        hook_id = self.add_webhook(body["url"], body["events"], group_id, active=active, secret=secret)
        return success(self.webhooks[hook_id].row(), "Webhook has been created")

    def _check_webhook(self, body: dict[str, Any]) -> None:
        refuse_other(body, HOOK)
        if not body.get("url", "https://").startswith("https://"):
            raise RefusedError(400, "InvalidInput", "url must begin with https://")
        if unknown := set(body.get("events", ())) - EVENTS:
            raise RefusedError(400, "InvalidInput", f"Unknown event '{min(unknown)}'")

    def _webhook(self, request: web.Request) -> Webhook:
        return found(request, self.webhooks, "Webhook")
