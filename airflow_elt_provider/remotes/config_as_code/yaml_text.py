"""YAML as our files have it: read strictly, written always the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import yaml

from airflow_elt_provider.errors import ConfigurationError

_WIDTH: Final = 110
_BREAKS: Final = re.compile("[\r\x85\u2028\u2029]")
"""What YAML 1.1 takes for the end of a line, besides the line feed: read back it would be a blank."""

_TEXT, _INT, _FLOAT, _BOOL, _TIMESTAMP, _VALUE, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "timestamp", "value", "merge")
)
_DOUBTFUL: Final = {
    _BOOL: re.compile("yes|no|on|off", re.IGNORECASE),
    _INT: re.compile("[-+]?(0[0-9_]+|0b.*|.*_.*)"),
    _FLOAT: re.compile(r"[-+]?\.(nan|inf)|.*_.*", re.IGNORECASE),
}
_PLAIN: Final = {_BOOL: "write true or false", _INT: "write a decimal number", _FLOAT: "write a decimal number"}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)  # items of a list stand further right than its name


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if _BREAKS.search(value):
        style = '"'
    elif "\n" in value and not any(line != line.rstrip() for line in value.split("\n")):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


class _Strict(yaml.composer.Composer, yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """Takes no alias, no tag and no key twice; what YAML 1.1 takes for something else than it looks like is no value.

    Dates and times of day (``14:00``) are the texts that they are. ``no`` and ``010`` are refused: one reader takes
    them for false and 8, the next for a text and 10.
    """

    def __init__(self) -> None:
        yaml.composer.Composer.__init__(self)
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[attr-defined]  # of the parser
        if isinstance(event, yaml.AliasEvent):
            raise _refused("an alias (*) is not taken", event)
        if getattr(event, "tag", None) is not None:
            raise _refused(f"a tag ({event.tag}) is not taken", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise _refused("a key is no text: put values in braces ({{ ... }}) in quotes", name)
            if name.tag == _MERGE:
                raise _refused("a merge key (<<) is not taken: write the values out", name)
            if name.tag != _TEXT:
                raise _refused(f"the key {name.value!r} is no text: put it in quotes", name)
            if name.value in seen:
                raise _refused(f"{name.value!r} is there twice", name)
            seen.add(name.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        doubtful = _DOUBTFUL.get(node.tag)
        if doubtful and (not node.value or doubtful.fullmatch(node.value)):
            raise _refused(
                f"{node.value!r} may be read as something else: {_PLAIN[node.tag]}, or put it in quotes", node
            )
        return super().construct_scalar(node)


def _refused(what: str, at: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, at.start_mark)


def _resolved(tag: str, pattern: re.Pattern[str]) -> tuple[str, re.Pattern[str]]:
    """Return what is an integer without times of day, of which YAML 1.1 makes seconds."""
    return tag, re.compile(f"(?![^:]*:)(?:{pattern.pattern})", re.VERBOSE) if tag in {_INT, _FLOAT} else pattern


_Strict.yaml_implicit_resolvers = {
    first: [_resolved(tag, pattern) for tag, pattern in resolvers if tag not in {_TIMESTAMP, _VALUE}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, _Strict):
    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        _Strict.__init__(self)


_Fast: type[Any] | None = None
with suppress(ImportError):  # PyYAML without LibYAML
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _WithLibYaml(_Strict, CParser):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            _Strict.__init__(self)

    _Fast = _WithLibYaml


def _loaded(text: str) -> Any:
    """Return the value of a text; LibYAML reads it much faster, and where it does not like it, Python says why."""
    if _Fast is not None:
        try:
            return _Fast(text).get_single_data()
        except (yaml.YAMLError, RecursionError, ValueError):
            pass
    return _Loader(text).get_single_data()


def dumped(document: Mapping[str, Any], *, comment: str = "") -> bytes:
    """Return a document as YAML, in its own order.

    :param comment: a line above it.
    """
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return (f"# {comment}\n{text}" if comment else text).encode()


def loaded(content: bytes, place: str) -> dict[str, Any]:
    """Return the document.

    :param place: the file, for messages.
    :raises ConfigurationError: for what is no YAML, or no mapping; names file and line.
    """
    try:
        found = _loaded(content.decode("utf-8-sig"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{place}{where}: {_said(error)}.", hint="correct the YAML") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{place} holds no mapping.", hint="write kind, workspace, name and the values")
    return found


def _said(error: Exception) -> str:
    match error:
        case yaml.reader.ReaderError():
            return f"there is a control character (#x{error.character:02x}, character {error.position + 1} of the file)"
        case UnicodeDecodeError():
            return f"it is no UTF-8 (byte {error.start + 1} is {error.object[error.start]:#04x})"
        case RecursionError():
            return "it is nested too deeply"
        case yaml.YAMLError():
            return str(getattr(error, "problem", None) or type(error).__name__)
    return "a number is too large"
