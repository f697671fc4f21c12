"""The Terraform of the Composer guide, parsed: there is no provider here to validate it with."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import hcl2
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "terraform" / "airbyte-composer"
FILES = sorted(FOLDER.glob("*.tf"))
GONE = {"google_iap_brand", "google_iap_client"}
"""The API behind them was shut down."""
TOO_MUCH = {
    "roles/owner",
    "roles/editor",
    "roles/viewer",
    "roles/storage.admin",
    "roles/bigquery.admin",
    "roles/iap.admin",
}


def bare(word: str) -> str:
    return word.strip('"')


@cache
def declared() -> dict[str, set[str]]:
    """What may be referred to: `var` -> names, `local` -> names, type of resource -> names."""
    found: dict[str, set[str]] = {"var": set(), "local": set(), "output": set()}
    for file in FILES:
        with file.open() as text:
            parsed = hcl2.load(text)
        for kind in ("resource", "ephemeral", "data"):
            for block in parsed.get(kind, []):
                for type_, named in block.items():
                    found.setdefault(bare(type_), set()).update(map(bare, named))
        found["var"] |= {
            bare(name) for block in parsed.get("variable", []) for name in block if not name.startswith("__")
        }
        found["local"] |= {name for block in parsed.get("locals", []) for name in block if not name.startswith("__")}
        found["output"] |= {bare(name) for block in parsed.get("output", []) for name in block}
    return found


def text_of(file: Path) -> str:
    return re.sub(r"(^|\s)#.*$", "", file.read_text(), flags=re.MULTILINE)


def test_row_three_is_whole():
    assert {type_ for type_ in declared() if type_.startswith("google_")} > {
        "google_bigquery_dataset", "google_composer_environment", "google_container_cluster",
        "google_iap_web_backend_service_iam_member", "google_service_account", "google_sql_database_instance",
        "google_storage_bucket",
    }  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_references_lead_somewhere(file):
    text = re.sub(
        r"(?<!\$)\"[^\"$]*\"", "", text_of(file)
    )  # what stands in quotes is no reference, unless interpolated
    for kind, name in re.findall(r"\b(var|local|google_\w+|random_\w+)\.(\w+)", text):
        assert name in declared().get(kind, ()), f"{file.name}: {kind}.{name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_todays_resources_and_least_privilege(file):
    text = text_of(file)
    for word in GONE | TOO_MUCH | {"google_service_account_key", "allUsers", "allAuthenticatedUsers"}:
        assert not re.search(rf"{word}\b", text), word
    assert "_iam_policy" not in text  # would take away what others granted
    assert not re.search(r"^\s*(password|secret_data)\s*=", text, re.MULTILINE)  # would stand in the state


def test_every_variable_is_used_and_described():
    texts = "\n".join(map(text_of, FILES))
    assert all(f"var.{name}" in texts for name in declared()["var"])
    assert texts.count("description =") == len(declared()["var"] | declared()["output"])


def test_formatted_as_terraform_does():
    """Where there is a terraform; the layout is not worth an installation."""
    program = shutil.which("terraform") or shutil.which("tofu")
    if program is None:
        pytest.skip("neither terraform nor tofu is on this machine")
    words = [program, "fmt", "-check", "-recursive", "-diff", str(FOLDER)]
    env = {"TF_CLI_CONFIG_FILE": "/dev/null"}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
