"""YAML as our files have it: read strictly, written always the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from airflow_elt_provider.errors import ConfigurationError

_WIDTH: Final = 110
_BREAKS: Final = re.compile("[\r\x85\u2028\u2029]")
"""What YAML 1.1 takes for the end of a line, besides the line feed: read back it would be a blank."""


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


class _Loader(yaml.SafeLoader):
    """Takes no alias, no key twice, and a date for the text that it is."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "an alias (*) is not taken", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for name, _ in node.value:
            if name.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name.value!r} is there twice", name.start_mark)
            seen.add(name.value)
        found = super().construct_mapping(node, deep)
        for name in found:
            if not isinstance(name, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} is no text: put it in quotes", node.start_mark
                )
        return found


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
        found: Any = yaml.load(content.decode("utf-8-sig"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or type(error).__name__
        raise ConfigurationError(f"{place}{where}: {said}.", hint="correct the YAML") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{place} holds no mapping.", hint="write kind, workspace, name and the values")
    return found
