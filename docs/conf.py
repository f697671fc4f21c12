from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

project = "airflow-elt-provider"
author = "the airflow-elt-provider authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name for it
release = version = installed_version(project)

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
nitpicky = True

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3


def add_unreleased(app: Any, docname: str, source: list[str]) -> None:
    """Put the fragments of changelog.d in front of the changelog."""
    if docname == "changelog":
        app.env.note_reread()
        command = [
            sys.executable,
            "-m",
            "towncrier",
            "build",
            "--draft",
            "--version",
            "unreleased",
            "--date",
            "not yet",
        ]
        draft = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603
        source[0] = source[0].replace("<!-- unreleased -->", draft[draft.index("## ") :])


def setup(app: Any) -> None:
    app.connect("source-read", add_unreleased)
