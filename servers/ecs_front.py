"""moto's ECS behind an HTTP front that lets time pass: tasks arrive one by one, or never.

>>> with EcsServer(lag=0.1) as ecs:
...     ecs.create_service("workers", "celery", running=0)
...     ecs.crash = "CannotPullContainerError: ..."  # from now on no task arrives

moto sets the running count as soon as the desired one is set, knows no events and lists no tasks of a service, so what
waits for a service would never wait. The front notes each UpdateService and answers DescribeServices as ECS would.
Permissions, throttling and cuts are injected: moto refuses nobody.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from servers.http_front import Asked, Exchange, Fault, HttpFront, Reply, When
from servers.s3 import REGION, S3Server

_ARN = f"arn:aws:ecs:{REGION}:123456789012"


@dataclass
class _Scaling:
    """The last UpdateService of a service: from how many tasks to how many, and since when."""

    before: int
    wanted: int
    crash: str
    at: float = field(default_factory=time.monotonic)

    def running(self, lag: float) -> int:
        arrived = int((time.monotonic() - self.at) / lag) if lag else abs(self.wanted - self.before)
        if self.wanted < self.before:
            return max(self.wanted, self.before - arrived)
        return self.before if self.crash else min(self.wanted, self.before + arrived)


class _Exchange(Exchange):
    """One client's connection."""

    def _asked(self, body: bytes) -> Asked:
        plain = super()._asked(body)
        operation = plain.headers.get("x-amz-target", "").rpartition(".")[2]
        self._told: dict[str, Any] = json.loads(body) if operation and body else {}
        service = self._told.get("service") or next(iter(self._told.get("services", [])), self._told.get("serviceName"))
        return Asked(operation, f"{self._told.get('cluster', 'default')}/{service}", plain.query, plain.headers)

    def _pass_on(self, asked: Asked, body: bytes, cut: When | None) -> None:
        with self._connected() as upstream:
            answer = self._request(upstream, body)
            reply = Reply(answer.status, dict(answer.headers.items()), answer.read())
        if reply.status == 200:
            reply = self.front.as_time_passes(asked, self._told, reply)
        self._answer(reply, cut)

    def _refusal(self, fault: Fault, asked: Asked) -> Reply:
        message = fault.message or f"Injected for {asked.place}"
        content = json.dumps({"__type": fault.code, "message": message}).encode()
        return Reply(fault.status, {"Content-Type": "application/x-amz-json-1.1"}, content)


class EcsFront(HttpFront):
    """The proxy in front of moto.

    `lag` is the seconds that each task takes to come or to go; `crash` why none comes any more ("": they come); with
    `breaker` the deployment is FAILED that many seconds after a crash began.
    """

    exchange = _Exchange

    def __init__(self, upstream_port: int) -> None:
        """Stand in front of moto."""
        super().__init__(upstream_port)
        self.lag, self.crash = 0.2, ""
        self.breaker: float | None = None
        self._scalings: dict[str, _Scaling] = {}

    def as_time_passes(self, asked: Asked, told: dict[str, Any], reply: Reply) -> Reply:
        """Return moto's answer as ECS would have given it."""
        answer = json.loads(reply.content)
        if asked.operation == "UpdateService" and "desiredCount" in told:
            known = self._scalings.get(asked.place)
            before = known.running(self.lag) if known else 0
            if known is None or known.wanted != told["desiredCount"]:
                self._scalings[asked.place] = _Scaling(before, told["desiredCount"], self.crash)
        elif asked.operation == "DescribeServices":
            for service in answer["services"]:
                self._stand(service, self._scalings.get(asked.place))
        elif asked.operation == "ListTasks" and told.get("desiredStatus") == "STOPPED" and self.crash:
            answer = {"taskArns": [f"{_ARN}:task/{asked.place.split('/')[0]}/{number}" for number in (1, 2)]}
        elif asked.operation == "DescribeTasks":
            answer = {"tasks": [self._stopped(arn) for arn in told["tasks"]], "failures": []}
        return Reply(reply.status, reply.headers, json.dumps(answer).encode())

    def _stand(self, service: dict[str, Any], scaling: _Scaling | None) -> None:
        if scaling is None:
            return
        running = scaling.running(self.lag)
        pending = max(0, scaling.wanted - running)
        has_failed = self.breaker is not None and time.monotonic() - scaling.at >= self.breaker and bool(pending)
        counts = {"desiredCount": scaling.wanted, "runningCount": running, "pendingCount": pending}
        service.update(counts)
        for deployment in service["deployments"]:
            # A mere change of the desired count is no deployment: it leaves the last one as it was, complete.
            rollout = "FAILED" if has_failed else "IN_PROGRESS" if self.breaker is not None and pending else "COMPLETED"
            deployment.update(counts, rolloutState=rollout)
            if has_failed:
                deployment["rolloutStateReason"] = "ECS deployment circuit breaker: tasks failed to start."
        name = service["serviceName"]
        message = f"(service {name}) has reached a steady state."
        if scaling.crash and pending:
            message = f"(service {name}) was unable to start tasks: {scaling.crash}"
        service["events"] = [{"id": "1", "createdAt": time.time(), "message": message}]

    def _stopped(self, arn: str) -> dict[str, Any]:
        return {
            "taskArn": arn, "lastStatus": "STOPPED", "stopCode": "TaskFailedToStart", "stoppedReason": self.crash,
            "containers": [{"name": "worker", "exitCode": 137, "reason": "OutOfMemoryError: container killed"}],
        }  # fmt: skip


class EcsServer(S3Server):
    """moto behind an :class:`EcsFront`."""

    def __init__(self, *, lag: float = 0.2) -> None:
        """Describe a server whose tasks take `lag` seconds each to come or to go."""
        super().__init__()
        self.front = EcsFront(self._port.number)
        self.front.lag = lag
        self._front = self.front  # type: ignore[assignment] - in the place of that of S3

    def ecs(self) -> Any:
        """Return a boto3 client that does not retry by itself."""
        return boto3.client(
            "ecs", endpoint_url=self.endpoint_url, aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key, region_name=REGION, config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def create_service(self, cluster: str, service: str) -> None:
        """Create a cluster with a service that runs nothing."""
        client = self.ecs()
        client.create_cluster(clusterName=cluster)
        container = {"name": "worker", "image": "airflow", "cpu": 1, "memory": 1}
        told = client.register_task_definition(family=service, containerDefinitions=[container])
        arn = told["taskDefinition"]["taskDefinitionArn"]
        client.create_service(cluster=cluster, serviceName=service, taskDefinition=arn, desiredCount=0)
        client.update_service(cluster=cluster, service=service, desiredCount=0)

    def running(self, cluster: str, service: str) -> int:
        """Return how many tasks run."""
        (found,) = self.ecs().describe_services(cluster=cluster, services=[service])["services"]
        count: int = found["runningCount"]
        return count

    def scaled(self, cluster: str, service: str) -> int:
        """Return how many tasks are asked for."""
        (found,) = self.ecs().describe_services(cluster=cluster, services=[service])["services"]
        count: int = found["desiredCount"]
        return count
