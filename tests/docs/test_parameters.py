from __future__ import annotations

import inspect
import re
import subprocess
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace

import pytest

from airflow_elt_provider.core.drift import DriftClass
from airflow_elt_provider.core.types import _SPOKEN
from airflow_elt_provider.engine.merge import SyncResult
from airflow_elt_provider.notifications.slack import EltSlackNotifier
from airflow_elt_provider.operators import _metrics
from airflow_elt_provider.operators._reads import ReadsSource
from airflow_elt_provider.operators._remote_task import RemoteSyncOperator
from airflow_elt_provider.operators._schema_gate import GatedSyncOperator
from airflow_elt_provider.operators._task import EltOperator, UsesStage
from airflow_elt_provider.operators._writes import MergesRows
from airflow_elt_provider.operators.remote_config import RemoteConfigOperator
from airflow_elt_provider.provider_info import get_provider_info
from airflow_elt_provider.remotes.model import Report, StreamReport
from airflow_elt_provider.sensors.freshness import FreshnessSensor
from airflow_elt_provider.sensors.remote import RemoteSyncSensor
from airflow_elt_provider.sensors.schema_drift import SchemaDriftSensor
from airflow_elt_provider.task_groups import sync_partitioned_table, sync_tables
from tests.docs.pages import ELT, ROOT, first_cells, sections

OPERATORS = sections(ROOT / "docs/operators.md")
GROUPS = {
    ReadsSource: "Reading the source",
    MergesRows: "Merging",
    UsesStage: "The stage",
    RemoteSyncOperator: "Driving a remote",
    GatedSyncOperator: "The schema gate",
    RemoteConfigOperator: "Configuration of a remote",
}
_INNER = {"SyncDiscoveredTableOperator", "RemoteConfigOperator"}


def _operators():
    for module in get_provider_info()["operators"][0]["python-modules"]:
        for operator in vars(import_module(module)).values():
            if inspect.isclass(operator) and issubclass(operator, EltOperator) and operator.__module__ == module:
                yield operator


CLASSES = [one for one in _operators() if one.__name__ not in _INNER and not one.__name__.startswith("_")]


def _own_parameters(cls):
    if "__init__" not in vars(cls):
        return set()
    kinds = inspect.signature(vars(cls)["__init__"]).parameters.values()
    return {parameter.name for parameter in kinds if parameter.kind is parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("operator", CLASSES, ids=lambda operator: operator.__name__)
def test_every_operator_is_described_with_its_own_parameters(operator):
    section = OPERATORS[operator.__name__]
    assert f"`{operator.__module__}`" in section
    assert first_cells(section) == _own_parameters(operator)
    for group, heading in GROUPS.items():
        assert (f"[{heading}]" in section) == issubclass(operator, group)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_shared_parameter_is_described(group):
    assert first_cells(OPERATORS[GROUPS[group]]) == _own_parameters(group)


@pytest.mark.parametrize("operator", CLASSES, ids=lambda operator: operator.__name__)
def test_templated_parameters_are_marked(operator):
    headings = (operator.__name__, *(GROUPS[group] for group in GROUPS if issubclass(operator, group)))
    assert _marked(*headings) == set(operator.template_fields)


def _marked(*headings):
    lines = (line for heading in headings for line in OPERATORS[heading].splitlines())
    return {found[1] for line in lines if (found := re.match(r"\| `(\w+)` \| T ", line))}


SENSORS = [RemoteSyncSensor, FreshnessSensor, SchemaDriftSensor]


@pytest.mark.parametrize("sensor", SENSORS, ids=lambda sensor: sensor.__name__)
def test_a_sensor_is_described(sensor):
    section = OPERATORS[sensor.__name__]
    assert sensor.__module__ in get_provider_info()["sensors"][0]["python-modules"]
    assert f"`{sensor.__module__}`" in section
    assert first_cells(section) == _own_parameters(sensor)
    assert _marked(sensor.__name__) == set(sensor.template_fields)


def test_the_notifier_is_described():
    section = sections(ROOT / "docs/notifications.md")["Notifications"]
    assert get_provider_info()["notifications"] == [f"{EltSlackNotifier.__module__}.{EltSlackNotifier.__name__}"]
    assert first_cells(section) == _own_parameters(EltSlackNotifier)


def test_every_metric_is_described():
    described = first_cells(sections(ROOT / "docs/monitoring.md")["Metrics"])
    manifest = SimpleNamespace(
        source_facts={"lag_bytes": "1"}, as_of="2026-01-01", created_at="", next_position=SimpleNamespace(cursor=None)
    )
    result = SyncResult("id", "stream", seconds={"extract": 1.0, "stage": 1.0, "merge": 1.0})
    sent = {f"elt.{name}" for _, name, _ in _metrics._measures(result, manifest, datetime.now(UTC))}
    assert described == sent


@pytest.mark.parametrize("group", [sync_tables, sync_partitioned_table], ids=lambda group: group.__name__)
def test_every_task_group_is_described(group):
    assert first_cells(OPERATORS[group.__name__]) == set(inspect.signature(group).parameters)


def test_every_field_of_the_result_is_described():
    assert first_cells(OPERATORS["Result"]) == set(SyncResult("id", "stream").to_json())


def test_every_field_of_a_remote_result_is_described():
    section = OPERATORS["What a remote sync returns"]
    assert first_cells(section) == set(Report("airbyte", "id", "1", "succeeded", "url").to_json())
    (shape,) = re.findall(r"`\[\{(.*?)\}, …\]`", section)
    assert re.findall(r'"(\w+)"', shape) == list(StreamReport("name").to_json())


def test_every_configuration_option_is_described():
    described = first_cells(sections(ROOT / "docs/stages.md")["Stages"])
    assert {f"[elt] {option}" for option in get_provider_info()["config"]["elt"]["options"]} <= described


def test_every_class_of_drift_is_described():
    assert first_cells(sections(ROOT / "docs/schema-drift.md")["Schema drift"]) == set(DriftClass)


def test_types_that_column_types_lists_are_known():
    section = sections(ROOT / "docs/types.md")["column_types"]
    listed = re.search(r"^Types: (.*?)$", section, re.MULTILINE | re.DOTALL)
    assert listed
    for word in re.findall(r"`([^`]+)`", listed[1]):
        assert word in _SPOKEN or word in {"decimal(p,s)", "double", "json", "uuid", "time"}, word


REMOTE = [f"remote {command}" for command in ("export", "diff", "plan", "apply", "restore")]


@pytest.mark.parametrize("command", ["guess", "sync", "plan", "reconcile", *REMOTE, "doctor", "reset", "gc"])
def test_every_flag_of_the_command_line_is_described(command):
    text = subprocess.run(
        [ELT, *command.split(), "--help"], cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    flags = set(re.findall(r"(--[a-z][a-z-]+)", text)) - {"--help"}
    assert first_cells(sections(ROOT / "docs/cli.md")[f"elt {command}"]) == flags


def test_every_command_is_described():
    text = subprocess.run([ELT, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^    (\w+) ", text, re.MULTILINE)
    assert sorted(commands) == sorted(found[1] for found in map(re.compile(r"elt (\w+)").fullmatch, _cli()) if found)


def _cli():
    return sections(ROOT / "docs/cli.md")
