"""A schema held against its lock: what changed, in which class, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.schema_lock import (
    CLASSES,
    DriftPolicy,
    LockedStream,
    SchemaLock,
    drift,
    drift_table,
    type_text,
)

NAMES = st.sampled_from(["a", "b", "public.c", "id"])
TYPES = st.sampled_from(["integer", "string", "unknown", "string(date-time)"])
STREAMS = st.builds(LockedStream, st.dictionaries(NAMES, TYPES), st.lists(NAMES, max_size=2).map(tuple), NAMES)
SCHEMAS = st.builds(SchemaLock, st.dictionaries(NAMES, STREAMS))


def lock(**streams: dict[str, str]) -> SchemaLock:
    return SchemaLock({name: LockedStream(fields, ("id",), "at") for name, fields in streams.items()})


@given(SCHEMAS)
def test_a_lock_is_read_as_it_was_written_and_equals_itself(schema: SchemaLock) -> None:
    assert SchemaLock.from_json(schema.to_json(), "x") == schema
    assert drift(schema, schema) == []


@given(SCHEMAS, SCHEMAS)
def test_every_difference_is_seen_from_both_sides(one: SchemaLock, other: SchemaLock) -> None:
    there, back = drift(one, other), drift(other, one)
    turned = {"field_added": "field_removed", "stream_added": "stream_removed"}
    turned |= {new: old for old, new in turned.items()}
    assert sorted((turned.get(d.kind, d.kind), d.stream, d.field) for d in there) == sorted(
        (d.kind, d.stream, d.field) for d in back
    )


def test_each_class_of_change_is_told_apart() -> None:
    before = lock(orders={"id": "integer", "total": "number", "note": "string"}, users={"id": "integer"})
    now = SchemaLock({
        "orders": LockedStream({"id": "integer", "total": "string", "tax": "number"}, ("id", "tax"), "at"),
        "visits": LockedStream({"id": "integer"}),
    })  # fmt: skip
    found = drift(before, now)
    assert {one.kind for one in found} == set(CLASSES)
    table = drift_table(found, DriftPolicy.parse({"field_added": "apply"}))
    assert [" ".join(line.split()) for line in table.splitlines()[2:]] == [
        "key changed orders primary key id id, tax fail",
        "field removed orders note string fail",
        "field added orders tax number apply",
        "type changed orders total number string fail",
        "stream removed users 1 fields fail",
        "stream added visits 1 fields warn",
    ]


def test_streams_that_nobody_syncs_may_change() -> None:
    before, now = lock(a={"id": "integer"}, b={"id": "integer"}), lock(a={"id": "integer", "x": "string"})
    assert [one.stream for one in drift(before, now, {"a"})] == ["a"]
    assert drift(before, lock(a={"id": "integer"}, c={}), {"a"})[0].kind == "stream_added"


@pytest.mark.parametrize("given_", ["explode", {"field_added": "explode"}, {"fields": "warn"}], ids=["w", "r", "c"])
def test_an_unknown_reaction_or_class_is_refused(given_: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_schema_drift has"):
        DriftPolicy.parse(given_)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": ["string", "null"]}, "string"),
        ({"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
         "string(date-time, timestamp_with_timezone)"),
        ({"type": ["null", "array"], "items": {"type": ["null", "string"]}}, "array<string>"),
        ({"type": "object", "properties": {"b": {"type": "integer"}, "a": {}}}, "object{a: any, b: integer}"),
        ({"oneOf": [{"type": "null"}, {"type": "number"}]}, "number"),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, "one of number, string"),
        ({}, "any"),
        (True, "any"),
        ({"type": ["number", "string"]}, "number|string"),
    ],
    ids=map(str, range(10)),
)  # fmt: skip
def test_a_json_schema_in_a_few_words(schema: Any, text: str) -> None:
    assert type_text(schema) == text


@pytest.mark.parametrize(
    "value", [None, {"a": 1}, {"a": {"fields": [1]}}, {"a": {"key": 1}}, {"a": {"primary_key": 1}}], ids=range(5)
)
def test_a_lock_that_cannot_be_meant_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.lock\.yaml"):
        SchemaLock.from_json(value, "x.lock.yaml")
