"""The schema of a source as somebody accepted it, and how what is there now differs from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from airflow_elt_provider.core.text_table import text_table
from airflow_elt_provider.errors import ConfigurationError

DriftClass = Literal[
    "field_added", "field_removed", "type_changed", "key_changed", "stream_added", "stream_removed"
]  # fmt: skip
Reaction = Literal["ignore", "warn", "fail", "apply"]
CLASSES: Final[tuple[DriftClass, ...]] = get_args(DriftClass)
REACTIONS: Final[tuple[Reaction, ...]] = get_args(Reaction)
DEFAULT: Final[Mapping[DriftClass, Reaction]] = {
    "field_added": "warn", "field_removed": "fail", "type_changed": "fail", "key_changed": "fail",
    "stream_added": "warn", "stream_removed": "fail",
}  # fmt: skip
"""What would lose rows or columns fails; what is only new is said."""
_SHOWN: Final = 10
"""Changes that an error lists; the log has all."""
UNKNOWN: Final = "unknown"
"""The type of a field of which the server tells the name alone; it equals every other."""


@dataclass(frozen=True)
class LockedStream:
    """One stream (table).

    :param fields: type by name; see :func:`type_text`.
    :param primary_key: dotted paths, in order.
    :param cursor: dotted path of the field by which the source finds changes, "" for none.
    """

    fields: Mapping[str, str]
    primary_key: tuple[str, ...] = ()
    cursor: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as the lock file holds it: what is empty is left out, fields in the order of their names."""
        value: dict[str, Any] = {}
        if self.primary_key:
            value["primary_key"] = list(self.primary_key)
        if self.cursor:
            value["cursor"] = self.cursor
        return {**value, "fields": dict(sorted(self.fields.items()))}


@dataclass(frozen=True)
class SchemaLock:
    """The streams of a source, by dotted name."""

    streams: Mapping[str, LockedStream] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as the lock file holds it."""
        return {name: stream.to_json() for name, stream in sorted(self.streams.items())}

    @classmethod
    def from_json(cls, value: Any, place: str) -> SchemaLock:
        """Read what :meth:`to_json` wrote.

        :param place: the file, for messages.
        :raises ConfigurationError: for anything else.
        """
        if not isinstance(value, Mapping):
            raise _unread(place, "streams", value)
        return cls({str(name): _stream(stream, place, str(name)) for name, stream in value.items()})


@dataclass(frozen=True)
class Drift:
    """One difference.

    :param field: "" where a whole stream is meant, or its key.
    :param old: type or key in the lock, "" for none.
    :param new: what is there now.
    """

    kind: DriftClass
    stream: str
    field: str = ""
    old: str = ""
    new: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as XCom shows it."""
        return {"change": self.kind, "stream": self.stream, "field": self.field, "old": self.old, "new": self.new}


@dataclass(frozen=True)
class DriftPolicy:
    """What is to be done about each class of changes."""

    reactions: Mapping[DriftClass, Reaction] = field(default_factory=lambda: dict(DEFAULT))

    @classmethod
    def parse(cls, given: str | Mapping[str, str] | None) -> DriftPolicy:
        """Read ``"fail"`` (for all classes) or ``{"field_added": "apply", ...}`` (the others stay as by default).

        :raises ConfigurationError: for a class or a reaction that there is not.
        """
        if given is None:
            return cls()
        if not isinstance(given, str | Mapping):
            raise ConfigurationError(f"on_schema_drift is {given!r}.", hint="a reaction, or one for each class")
        words: dict[str, str] = {str(name): str(word) for name, word in DEFAULT.items()}
        words.update({str(name): given for name in CLASSES} if isinstance(given, str) else given)
        for name, word in words.items():
            if name not in CLASSES:
                raise ConfigurationError(f"on_schema_drift has {name!r}.", hint=f"any of {', '.join(CLASSES)}")
            if word not in REACTIONS:
                raise ConfigurationError(
                    f"on_schema_drift has {word!r} for {name}.", hint=f"one of {', '.join(REACTIONS)}"
                )
        return cls(words)  # type: ignore[arg-type]

    def of(self, drifts: Sequence[Drift], reaction: Reaction) -> list[Drift]:
        """Return the differences that are to be treated so."""
        return [drift for drift in drifts if self.reactions[drift.kind] == reaction]


def drift(lock: SchemaLock, found: SchemaLock, selected: Collection[str] | None = None) -> list[Drift]:
    """Return how a schema differs from its lock, in the order of streams and fields.

    :param selected: the streams that are synced: others may change and go as they like; None: all are.
    """
    result: list[Drift] = []
    for name in sorted({*lock.streams, *found.streams}):
        old, new = lock.streams.get(name), found.streams.get(name)
        if old is None:
            result.append(Drift("stream_added", name, new=f"{len(found.streams[name].fields)} fields"))
        elif selected is not None and name not in selected:
            continue
        elif new is None or _is_name_alone(new, old):
            result.append(Drift("stream_removed", name, old=f"{len(old.fields)} fields"))
        elif _is_name_alone(old, new):  # it was not synced when the schema was accepted
            result.append(Drift("stream_added", name, new=f"{len(new.fields)} fields"))
        else:
            result.extend(_of_stream(name, old, new))
    return result


def _is_name_alone(one: LockedStream, other: LockedStream) -> bool:
    """Whether nothing but its name was told of a stream, by a server that tells no types: it is not synced."""
    return one == LockedStream({}) and set(other.fields.values()) == {UNKNOWN}


def listing(drifts: Sequence[Drift]) -> str:
    """Return differences as a part of a sentence."""
    more = f"; and {len(drifts) - _SHOWN} more" if len(drifts) > _SHOWN else ""
    return "; ".join(map(spoken, drifts[:_SHOWN])) + more


def spoken(one: Drift) -> str:
    """Return a difference for a person, in one line."""
    place = f"{one.stream}.{one.field}" if one.field and one.kind != "key_changed" else one.stream
    change = " -> ".join(text or "none" for text in (one.old, one.new))
    if one.kind == "key_changed":
        return f"{one.field} changed: {place} ({change})"
    told = change if one.kind == "type_changed" else one.new or one.old
    return f"{one.kind.replace('_', ' ')}: {place} ({told})"


def drift_table(drifts: Sequence[Drift], policy: DriftPolicy) -> str:
    """Return the differences, and what becomes of each, as a table for a log."""
    rows = [
        [one.kind.replace("_", " "), one.stream, one.field, one.old, one.new, policy.reactions[one.kind]]
        for one in drifts
    ]
    return text_table(["change", "stream", "field", "lock", "now", "reaction"], rows, most=160)


def type_text(schema: Any) -> str:
    """Return a JSON schema in a few words, the same for schemas that mean the same; ``null`` is left out.

    >>> type_text({"type": ["null", "string"], "format": "date-time"})
    'string(date-time)'
    >>> type_text({"type": "array", "items": {"type": "integer"}})
    'array<integer>'
    """
    if not isinstance(schema, Mapping):
        return "any"
    choices = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(choices, Sequence) and not isinstance(choices, str):
        texts = sorted({type_text(choice) for choice in choices} - {"null"})
        return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"
    given = schema.get("type", "object" if "properties" in schema else "any")
    words = sorted({str(word) for word in (given if isinstance(given, list) else [given])} - {"null"}) or ["null"]
    return "|".join(_detailed(word, schema) for word in words)


def _detailed(word: str, schema: Mapping[str, Any]) -> str:
    if word == "array":
        return f"array<{type_text(schema['items'])}>" if "items" in schema else "array"
    if word == "object" and isinstance(schema.get("properties"), Mapping):
        inside = ", ".join(f"{name}: {type_text(one)}" for name, one in sorted(schema["properties"].items()))
        return f"object{{{inside}}}"
    marks = [str(schema[name]) for name in ("format", "airbyte_type") if schema.get(name)]
    return f"{word}({', '.join(marks)})" if marks else word


def _of_stream(name: str, old: LockedStream, new: LockedStream) -> Iterator[Drift]:
    if old.primary_key != new.primary_key:
        yield Drift("key_changed", name, "primary key", ", ".join(old.primary_key), ", ".join(new.primary_key))
    if old.cursor != new.cursor:
        yield Drift("key_changed", name, "cursor", old.cursor, new.cursor)
    for column in sorted({*old.fields, *new.fields}):
        before, now = old.fields.get(column), new.fields.get(column)
        if before is None:
            yield Drift("field_added", name, column, new=str(now))
        elif now is None:
            yield Drift("field_removed", name, column, old=before)
        elif before != now and UNKNOWN not in {before, now}:
            yield Drift("type_changed", name, column, before, now)


def _stream(value: Any, place: str, name: str) -> LockedStream:
    if not isinstance(value, Mapping) or not isinstance(value.get("fields", {}), Mapping):
        raise _unread(place, name, value)
    if strange := value.keys() - {"fields", "primary_key", "cursor"}:
        raise _unread(place, f"{name}.{min(map(str, strange))}", value[min(strange)])
    key = value.get("primary_key") or []
    if not isinstance(key, list):
        raise _unread(place, f"{name}.primary_key", key)
    fields = {str(column): str(kind) for column, kind in (value.get("fields") or {}).items()}
    return LockedStream(fields, tuple(map(str, key)), str(value.get("cursor") or ""))


def _unread(place: str, name: str, value: Any) -> ConfigurationError:
    return ConfigurationError(
        f"{place}: {name} is {value!r}, which is no part of a schema lock.",
        hint="write it anew with `elt remote export`, or take it from the repository's history",
    )
