from __future__ import annotations

import re

import pytest

from airflow_elt_provider.registry import STAGES, SYSTEMS
from tests.docs.pages import PAGES, ROOT, anchors, name, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_repository_lead_somewhere(page):
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: {sorted(anchors(target))}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_spoken_of_exist(page):
    for file in re.findall(r"`((?:example_dags|tests|core|demo|benchmarks|servers)/[\w/.]+)`", page.read_text()):
        found = [base / file for base in (ROOT, ROOT / "airflow_elt_provider") if (base / file).exists()]
        assert found, f"{file} does not exist"


def test_every_page_stands_in_the_table_of_contents():
    index = (ROOT / "docs/index.md").read_text()
    trees = re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL)
    listed = {line.strip() for tree in trees for line in tree.splitlines()}
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in PAGES if "docs" in page.parts} - {"index"}
    assert pages <= listed


def test_every_example_dag_is_spoken_of():
    text = "".join(page.read_text() for page in PAGES)
    missing = [dag.name for dag in (ROOT / "example_dags").glob("*.py") if dag.stem not in text]
    assert missing == []


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_system_has_a_page(system):
    page = ROOT / f"docs/systems/{system.name}.md"
    assert page.is_file(), f"write {name(page)}"
    for conn_type in system.conn_types:
        assert f"`{conn_type}`" in page.read_text()


@pytest.mark.parametrize("kind", STAGES, ids=lambda kind: kind.scheme)
def test_every_kind_of_stage_is_described(kind):
    assert f"`{kind.scheme}://" in (ROOT / "docs/stages.md").read_text()
