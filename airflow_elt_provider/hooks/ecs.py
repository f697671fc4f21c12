"""Services of Amazon ECS: their desired count, how they stand, and why their tasks stop."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from airflow_elt_provider._compat import BaseHook
from airflow_elt_provider.errors import ConfigurationError, TransientError
from airflow_elt_provider.hooks.connection import airflow_connection

_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_WRONG_LOGIN: Final = frozenset({
    "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId", "InvalidSignatureException",
    "MissingAuthenticationToken", "SignatureDoesNotMatch", "UnrecognizedClientException",
})  # fmt: skip
_OF_THE_MOMENT: Final = frozenset({
    "LimitExceededException", "RequestLimitExceeded", "ServerException", "ServiceUnavailable", "Throttling",
    "ThrottlingException", "UpdateInProgressException",
})  # fmt: skip
_EVENTS: Final = 5
_STOPPED: Final = 10
"""How many stopped tasks are looked at; a service that cannot start stops one after the other for the same reason."""

_REMEDIES: Final[Mapping[str, str]] = {
    "CannotPullContainer": "check the image's name and tag, the task execution role (ecr:GetAuthorizationToken, "
    "ecr:BatchGetImage, ecr:GetDownloadUrlForLayer) and the subnet's way to the registry (NAT or VPC endpoints)",
    "ResourceInitializationError": "check the task execution role, and the subnet's way to the secrets, logs and "
    "registry that the task definition names",
    "unable to place a task": "add capacity (instances, CPU, memory, ports), name more subnets, or ask for fewer tasks",
    "Capacity is unavailable": "name more subnets or capacity providers, try later, or ask for fewer tasks",
    "vCPU": "have the account's Fargate quota raised, or ask for fewer tasks",
    "unable to assume": "let ecs-tasks.amazonaws.com assume the task role and the task execution role",
    "health check": "see the containers' logs: they start, and then fail their health checks",
    "Essential container": "see the containers' logs: they start, and then end",
}
"""What ECS says, and what to do about it; the first that fits."""


@dataclass(frozen=True)
class ServiceState:
    """How a service stands.

    :param deployments: how many there are; more than one while a new task definition replaces another.
    :param rollout: ``COMPLETED``, ``IN_PROGRESS`` or ``FAILED``; "" where ECS does not deploy itself (CodeDeploy).
    :param reason: why the rollout is what it is.
    :param events: the newest messages of the service, the newest first.
    """

    desired: int
    running: int
    pending: int
    deployments: int = 1
    rollout: str = ""
    reason: str = ""
    events: tuple[str, ...] = ()

    def verdict(self, wanted: int) -> str | None:
        """Return ``stable``, ``failed`` (ECS itself gave up, by its circuit breaker), or None: wait.

        Stable is a service of which as many tasks run as are wanted, all of one deployment that is complete. Where none
        is wanted it does not matter what became of the deployment.
        """
        counts = self.desired == self.running == wanted and not self.pending
        if counts and (not wanted or (self.deployments <= 1 and self.rollout in {"", "COMPLETED"})):
            return "stable"
        return "failed" if wanted and self.rollout == "FAILED" else None

    def __str__(self) -> str:
        more = f", {self.deployments} deployments" if self.deployments > 1 else ""
        return f"{self.running} of {self.desired} tasks run, {self.pending} are pending{more}, {self.rollout}".rstrip(
            ", "
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return {**asdict(self), "events": list(self.events)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ServiceState:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**value, "events": tuple(value["events"])})


class EcsService:
    """One service. May be used by one thread at a time.

    :param client: boto3's client of ECS.
    :param login: whose permissions are meant, for error messages.
    """

    def __init__(self, client: Any, cluster: str, service: str, login: str) -> None:
        self._client, self._login = client, login
        self.cluster, self.service = cluster, service

    def __str__(self) -> str:
        return f"ECS service {self.cluster}/{self.service}"

    def scale(self, count: int) -> None:
        """Ask for so many tasks. To ask again changes nothing.

        :raises ConfigurationError: when there is no such service, or it may not be changed.
        """
        with self._explained("ecs:UpdateService"):
            self._client.update_service(cluster=self.cluster, service=self.service, desiredCount=count)

    def look(self) -> ServiceState:
        """Return how the service stands: one call.

        :raises ConfigurationError: when there is no such service, or it may not be looked at.
        :raises TransientError: when AWS does not answer, or asks for patience.
        """
        with self._explained("ecs:DescribeServices"):
            answer = self._client.describe_services(cluster=self.cluster, services=[self.service])
        found = next(iter(answer["services"]), None)
        if found is None or found.get("status") == "INACTIVE":
            raise self._missing("service", "it was deleted" if found else "")
        deployments = found.get("deployments", [])
        primary: dict[str, Any] = next((one for one in deployments if one.get("status") == "PRIMARY"), {})
        return ServiceState(
            found["desiredCount"], found["runningCount"], found["pendingCount"], len(deployments),
            primary.get("rolloutState", ""), primary.get("rolloutStateReason", ""),
            tuple(event["message"] for event in found.get("events", [])[:_EVENTS]),
        )  # fmt: skip

    def stopped(self) -> list[str]:
        """Return why the service's tasks stopped of late, each reason once; AWS forgets them after an hour."""
        mine = {"cluster": self.cluster, "serviceName": self.service}
        with self._explained("ecs:ListTasks"):
            tasks = self._client.list_tasks(**mine, desiredStatus="STOPPED", maxResults=_STOPPED)["taskArns"]
        if not tasks:
            return []
        with self._explained("ecs:DescribeTasks"):
            told = self._client.describe_tasks(cluster=self.cluster, tasks=tasks)["tasks"]
        return list(dict.fromkeys(reason for task in told for reason in _reasons(task)))

    def remedy(self, state: ServiceState, reasons: list[str]) -> str:
        """Return what to do about a service that does not become stable."""
        said = "\n".join((*reasons, *state.events, state.reason)).lower()
        for words, remedy in _REMEDIES.items():
            if words.lower() in said:
                return remedy
        return "see the service's events and its stopped tasks in the console of ECS"

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Turn what botocore raises into our errors."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except ClientError as error:
            raise self._refused(action, error.response) from error
        except HTTPClientError as error:
            raise TransientError(f"{self}: AWS does not answer: {error}") from error
        except BotoCoreError as error:  # no credentials, no region, an unknown profile
            raise ConfigurationError(f"{self}: {error}", hint=f"correct {self._login}") from error

    def _refused(self, action: str, response: Mapping[str, Any]) -> ConfigurationError | TransientError:
        told = response.get("Error", {})
        code, message = told.get("Code", ""), told.get("Message", "")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _DENIED:
            # AWS names the action itself, which may be another: to assume the role, say.
            named = re.search(r"perform: ([a-z0-9-]+:\w+)", message)
            action = named[1] if named else action
            return ConfigurationError(
                f"{self}: {self._login} may not do {action}: {message}",
                hint=f"allow {action} in an IAM policy of that user or role",
            )
        if code == "ClusterNotFoundException":
            return self._missing("cluster")
        if code in {"ServiceNotFoundException", "ServiceNotActiveException"}:
            return self._missing("service")
        if code in _WRONG_LOGIN:
            return ConfigurationError(f"{self}: AWS refused {self._login}: {code}", hint=f"correct {self._login}")
        if code in _OF_THE_MOMENT or status >= 500:  # noqa: PLR2004 - what HTTP calls the server's own fault
            return TransientError(f"{self}: {action}: {code} {message}")
        return ConfigurationError(f"{self}: {action}: {code} {message}", hint="correct what AWS names")

    def _missing(self, what: str, why: str = "") -> ConfigurationError:
        named = self.cluster if what == "cluster" else f"{self.cluster}/{self.service}"
        return ConfigurationError(
            f"ECS has no {what} {named!r}{f': {why}' if why else ''}, seen with {self._login}.",
            hint="correct cluster, service or region_name; another account or region has its own",
        )


class EltEcsHook(BaseHook):
    """Logs in as Airflow's own AWS hook does (keys, session tokens, assumed roles, web identities, profiles).

    :param aws_conn_id: a connection of type ``aws``; None: boto3 looks where it always looks.
    :param region_name: default: the connection's.
    """

    conn_name_attr = "aws_conn_id"
    default_conn_name = "aws_default"

    def __init__(self, aws_conn_id: str | None = "aws_default", region_name: str | None = None) -> None:
        super().__init__()
        self.aws_conn_id, self.region_name = aws_conn_id, region_name

    def get_service(self, cluster: str, service: str) -> EcsService:
        """Return a service; it connects when it is used.

        :raises ConfigurationError: for a connection that cannot be meant, or when the Amazon provider is missing.
        """
        try:
            from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
            from botocore.exceptions import BotoCoreError
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"Airflow's Amazon provider is missing: {error}", hint="pip install 'airflow-elt-provider[amazon]'"
            ) from error
        login = f"connection {self.aws_conn_id!r}" if self.aws_conn_id else "the default AWS credentials"
        if self.aws_conn_id:
            airflow_connection(self.aws_conn_id)  # the Amazon provider would take the default credentials instead
        hook: Any = AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type="ecs", region_name=self.region_name)
        try:
            client = hook.get_client_type(region_name=hook.region_name)
        except BotoCoreError as error:
            raise ConfigurationError(f"ECS with {login}: {error}", hint=f"correct {login} or region_name") from error
        return EcsService(client, cluster, service, login)


def _reasons(task: dict[str, Any]) -> Iterator[str]:
    if task.get("stoppedReason"):
        yield task["stoppedReason"]
    for container in task.get("containers", []):
        exit_code = container.get("exitCode")
        if container.get("reason") or exit_code:
            ended = f" (exit code {exit_code})" if exit_code is not None else ""
            yield f"container {container.get('name')}: {container.get('reason', 'ended')}{ended}"
