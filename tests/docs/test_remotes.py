"""The pages about remote engines against the code: every field of a form, every message."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from airflow_elt_provider.hooks.remote_forms import REMOTE_FORMS
from airflow_elt_provider.registry import REMOTES
from airflow_elt_provider.remotes.settings import Api, Auth, IapMode
from tests.docs.pages import ROOT, first_cells, sections

FOLDER = ROOT / "docs/remotes"
PAGES = sorted(FOLDER.glob("*.md"))
FIELDS = sections(FOLDER / "connections.md")["Fields"]
STANDARD = {"host", "schema", "port", "login", "password"}
FILLED_IN = re.compile(
    r"^airbyte|in airbyte|(?<=ended as )\w+|(?<= is )(inactive|broken)|source, config_error|"
    r"(neither the public nor the configuration|no public) API"
)
"""What a message in the documentation shows in place of a value."""
LETTERS = {"eltairbyte": "A", "eltfivetran": "F", "eltdigdag": "D"}


def rows(section):
    """The cells of a section's table, without head and rule."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def field_rows():
    return {row[0].strip("` "): row for row in rows(FIELDS)}


@pytest.mark.parametrize("kind", REMOTES, ids=lambda kind: kind.name)
def test_every_remote_has_a_page(kind):
    assert (FOLDER / f"{kind.name}.md").is_file()
    assert f"`{kind.conn_type}`" in (FOLDER / "connections.md").read_text()


@pytest.mark.parametrize("form", REMOTE_FORMS, ids=lambda form: form.conn_type)
def test_every_field_of_a_form_is_described(form):
    letter = LETTERS[form.conn_type]
    described = {name for name, row in field_rows().items() if letter in row[1].split()}
    assert described - STANDARD == {field.name for field in form.fields}
    assert described >= STANDARD


@pytest.mark.parametrize("form", REMOTE_FORMS, ids=lambda form: form.conn_type)
def test_types_and_secrets_of_fields_are_right(form):
    for field in form.fields:
        kind = field_rows()[field.name][2]
        assert ("secret" in kind) == field.secret, field.name
        wanted = "choice" if field.choices else {"string": "text"}.get(field.kind, field.kind)
        assert kind.startswith(wanted), field.name


def test_every_choice_is_named():
    described = field_rows()
    for name, kinds in {"auth": Auth, "api": Api, "iap_mode": IapMode}.items():
        assert set(kinds.__args__) <= set(re.findall(r"`(\w+)`", " ".join(described[name]))), name


def test_every_token_mode_is_described():
    assert first_cells(sections(FOLDER / "iap.md")["Token modes"]) == {"iap_mode"} | set(IapMode.__args__)


@cache
def spoken():
    """What the code can say: the constant parts of its texts."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "airflow_elt_provider").rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return "\n".join(node.value for node in nodes if isinstance(node.value, str))


def messages():
    for page in [*PAGES, ROOT / "docs/troubleshooting.md"]:
        for heading, section in sections(page).items():
            if page.parent != FOLDER and heading != "Remote engines":
                continue
            for line in section.splitlines():
                if found := re.match(r"\| `([^`]* [^`]*)`", line):
                    yield f"{page.stem}: {found[1]}", found[1]


MESSAGES = dict(messages())


@pytest.mark.parametrize("message", MESSAGES.values(), ids=list(MESSAGES))
def test_a_message_is_one_that_the_code_says(message):
    for piece in re.split(r"'…'|…|: |\. ", FILLED_IN.sub("…", message)):
        words = piece.strip(" '().:")
        assert words in spoken(), words


def test_messages_are_found():
    assert len(MESSAGES) > 60
