"""What the fake Digdag understands of a project's archive."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.fakes.digdag_model import Workflow

MOST_BYTES = 2 << 20
SCHEDULE = re.compile(r"""^schedule:[ \t]*\n[ \t]+([a-z_]+)>:[ \t]*["']?([^"'\n]+)""", re.MULTILINE)
ZONE = re.compile(r"""^timezone:\s*["']?([\w/+-]+)""", re.MULTILINE)


@dataclass(frozen=True)
class Written:
    """What the fake understands of a .dig file: the outermost tasks, the zone, and the kind and time of a schedule."""

    tasks: list[str]
    timezone: str
    schedule: tuple[str, str] | None = None

    def first(self, after: datetime) -> str | None:
        """Return the first time at which it is due; what is no interval, no time of a day or an hour: midnight."""
        if self.schedule is None:
            return None
        kind, said = self.schedule
        if kind == "minutes_interval":
            step = timedelta(minutes=int(said))
            return (after - (after - datetime.min.replace(tzinfo=UTC)) % step + step).isoformat()
        now = after.astimezone(ZoneInfo(self.timezone))
        parts = [int(part) for part in said.split(":")] if re.fullmatch(r"[\d:]+", said) else []
        if kind == "hourly" and len(parts) == 2:
            due, step = now.replace(minute=parts[0], second=parts[1], microsecond=0), timedelta(hours=1)
        else:
            hour, minute, second = parts if kind == "daily" and len(parts) == 3 else (0, 0, 0)
            due, step = now.replace(hour=hour, minute=minute, second=second, microsecond=0), timedelta(days=1)
        return (due if due >= now else due + step).isoformat()


def workflows_in(archive: bytes) -> dict[str, Written]:
    """Return what each plain .dig file of a tar.gz says, by the name of its workflow."""
    found: dict[str, Written] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        members = files.getmembers()
        if sum(member.size for member in members) > MOST_BYTES:
            raise tarfile.TarError(f"Total size of the archive exceeds limit ({MOST_BYTES} bytes)")
        for member in members:
            name = member.name.removeprefix("./")
            content = files.extractfile(member)
            if content and name.endswith(".dig") and "/" not in name:
                found[name.removesuffix(".dig")] = _written(content.read().decode())
    return found


def _written(text: str) -> Written:
    zone, schedule = ZONE.search(text), SCHEDULE.search(text)
    tasks = re.findall(r"^(\+[\w-]+):", text, re.MULTILINE)
    return Written(tasks, zone[1] if zone else "UTC", (schedule[1], schedule[2].strip()) if schedule else None)


def archive_of(workflows: Sequence[Workflow]) -> bytes:
    """Return a tar.gz that says of workflows what a test said of them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as files:
        for workflow in workflows:
            schedule = "schedule:\n  daily>: 07:00:00\n" if workflow.schedule else ""
            tasks = "".join(f"{task}:\n  echo>: {task}\n" for task in workflow.tasks)
            text = f"timezone: {workflow.timezone}\n{schedule}{tasks}".encode()
            member = tarfile.TarInfo(f"{workflow.name}.dig")
            member.size = len(text)
            files.addfile(member, io.BytesIO(text))
    return gzip.compress(packed.getvalue(), mtime=0)
