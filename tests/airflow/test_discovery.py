"""What Airflow lists of this package, and its connection form on both lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest

from airflow_elt_provider.provider_info import get_provider_info
from tests.airflow.in_process import AIRFLOW_2

pytestmark = pytest.mark.lowest


def airflow(*words, **env):
    program = Path(sys.executable).with_name("airflow")
    done = subprocess.run([program, *words], env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(*words):
    text = airflow("providers", *words, "-o", "json")
    return json.loads(text[text.index("[") :])


def test_the_info_fits_airflows_schema():
    import airflow as package

    schema = json.loads((Path(package.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_lists_the_provider_its_hook_and_its_options():
    assert [row["version"] for row in listed("list") if row["package_name"] == "airflow-elt-provider"] == [
        version("airflow-elt-provider")
    ]
    hooks = {row["connection_type"]: row for row in listed("hooks")}
    assert hooks["duckdb"]["class"] == "airflow_elt_provider.hooks.duckdb.EltDuckdbHook"
    assert hooks["duckdb"]["hook_name"] == "DuckDB"
    assert hooks["postgres"]["class"] == "airflow.providers.postgres.hooks.postgres.PostgresHook"
    assert airflow("config", "get-value", "elt", "stage_retention").strip().splitlines()[-1] == "7"


def test_every_operator_and_hook_module_of_the_info_is_there():
    from importlib import import_module

    info = get_provider_info()
    for kind in ("operators", "hooks", "sensors", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                assert import_module(module).__doc__


FORMS = ("duckdb", "hologres", "eltairbyte", "eltfivetran", "eltdigdag")
MASKED = (
    "access_token", "api_key", "auth_header", "authorization", "keyfile_dict", "passphrase", "password",
    "private_key", "proxy", "secret", "token",
)  # fmt: skip


def entry_of(conn_type):
    return next(entry for entry in get_provider_info()["connection-types"] if entry["connection-type"] == conn_type)


def hook_of(conn_type):
    from importlib import import_module

    module, _, name = entry_of(conn_type)["hook-class-name"].rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("conn_type", FORMS)
def test_the_form_says_the_same_to_both_lines(conn_type):
    entry, hook = entry_of(conn_type), hook_of(conn_type)
    behaviour = hook.get_ui_field_behaviour()
    assert behaviour["hidden_fields"] == entry["ui-field-behaviour"]["hidden-fields"]
    assert behaviour["relabeling"] == entry["ui-field-behaviour"]["relabeling"]
    assert behaviour["relabeling"]["host"]
    assert (hook.conn_type, hook.hook_name) == (conn_type, entry["hook-name"])
    if AIRFLOW_2:
        assert set(hook.get_connection_form_widgets()) == set(entry["conn-fields"])


@pytest.mark.parametrize("conn_type", FORMS)
def test_every_field_has_a_help_text_and_secrets_have_names_that_airflow_masks(conn_type):
    from airflow_elt_provider.hooks.forms import DUCKDB, HOLOGRES
    from airflow_elt_provider.hooks.remote_forms import REMOTE_FORMS

    form = next(form for form in (DUCKDB, HOLOGRES, *REMOTE_FORMS) if form.conn_type == conn_type)
    for field in form.fields:
        assert field.help.endswith(".")
        assert field.secret == any(word in field.name for word in MASKED), field.name


@pytest.mark.parametrize("conn_type", FORMS)
@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 asks the hook")
def test_airflow_3_shows_the_form(conn_type):
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == conn_type]
    assert form.hook_name == entry_of(conn_type)["hook-name"]
    assert set(form.extra_fields) == set(entry_of(conn_type)["conn-fields"])
    assert form.standard_fields.host.title == entry_of(conn_type)["ui-field-behaviour"]["relabeling"]["host"]


def test_the_type_is_left_to_another_package_that_has_it(tmp_path):
    package = tmp_path / "airflow_provider_other-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: airflow-provider-other\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[apache_airflow_provider]\nprovider_info = other_info:get\n")
    types = [{"connection-type": "duckdb", "hook-class-name": "other.Hook"}]
    (tmp_path / "other_info.py").write_text(f"def get():\n    return {{'connection-types': {types!r}}}\n")
    code = (
        "from airflow_elt_provider.provider_info import get_provider_info as g\n"
        "print(*[entry['connection-type'] for entry in g()['connection-types']])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hologres", "eltairbyte", "eltfivetran", "eltdigdag"]
