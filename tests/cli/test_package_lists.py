"""Lists of packages of Composer images against what this package declares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_elt_provider.cli import main
from airflow_elt_provider.cli.requirements import compare, read_list, requirements

ELT = Path(sys.executable).with_name("elt")
OF_317 = {
    "apache-airflow": "3.1.7+composer", "apache-airflow-core": "3.1.7+composer",
    "apache-airflow-providers-common-compat": "1.13.1", "apache-airflow-providers-common-sql": "1.31.0",
    "apache-airflow-providers-celery": "3.16.0", "apache-airflow-providers-google": "20.0.0",
    "apache-airflow-providers-postgres": "6.5.3", "google-auth": "2.47.0", "google-cloud-bigquery": "3.40.0",
    "google-cloud-storage": "3.8.0", "httpx": "0.28.1", "psycopg2-binary": "2.9.11", "pyarrow": "22.0.0",
    "pyyaml": "6.0.3", "requests": "2.32.5",
}  # fmt: skip
"""Airflow, compat, common-sql and celery as Composer's changelog has them for 3.1.7; the others are of that time."""
OF_331 = {
    **OF_317, "apache-airflow": "3.3.1+composer", "apache-airflow-core": "3.3.1+composer",
    "apache-airflow-providers-common-compat": "1.18.0", "apache-airflow-providers-celery": "3.23.1",
}  # fmt: skip
OF_2105 = {**OF_317, "apache-airflow": "2.10.5+composer", "apache-airflow-providers-common-compat": "1.7.3"}


def table(packages: dict[str, str]) -> str:
    rows = [("PACKAGE", "VERSION"), *packages.items()]
    return "".join(f"{name:<50}{version}\n" for name, version in rows)


def boxed(packages: dict[str, str]) -> str:
    return "Package Version\n------- -------\n" + "".join(
        f"| {name} | {version} |\n" for name, version in packages.items()
    )


def frozen(packages: dict[str, str]) -> str:
    lines = [f"{name.replace('-', '_').title()}=={version}" for name, version in packages.items()]
    return "# of the image\n-e git+https://example.com/x#egg=x\n" + "\n".join(lines) + "\nlocal @ file:///x.whl\n"


def as_json(packages: dict[str, str]) -> str:
    return json.dumps([{"name": name, "version": version} for name, version in packages.items()])


@pytest.mark.parametrize("written", [table, boxed, frozen, as_json, json.dumps])
def test_every_form_of_a_list_is_read(written):
    assert read_list(written(OF_331)) == OF_331


@pytest.mark.parametrize("image", [OF_317, OF_331])
def test_current_images_fit(image, tmp_path, capsys):
    (tmp_path / "list").write_text(table(image))
    assert main(["doctor", "--packages", str(tmp_path / "list"), "--extra", "google"]) == 0
    said = capsys.readouterr().out
    assert f"ok       apache-airflow: {image['apache-airflow']} fits >=2.11.0" in said
    assert "note" not in said
    assert said.endswith("all is well\n")


def test_an_old_image_conflicts(tmp_path, capsys):
    (tmp_path / "list").write_text(frozen({name: at for name, at in OF_2105.items() if name != "httpx"}))
    assert main(["doctor", "--packages", str(tmp_path / "list"), "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    verdicts = {each["check"]: each["verdict"] for each in document["subjects"][0]["findings"]}
    assert {name for name, verdict in verdicts.items() if verdict == "problem"} == {
        "apache-airflow", "apache-airflow-providers-common-compat",
    }  # fmt: skip
    assert verdicts["httpx"] == "note"  # comes with ours


def test_standard_input_and_lists_of_nothing():
    words = [ELT, "doctor", "--packages", "-"]
    done = subprocess.run(words, input=frozen(OF_331), capture_output=True, text=True, check=False)
    assert (done.returncode, "all is well" in done.stdout) == (0, True)
    done = subprocess.run(
        words, input="ERROR: (gcloud) no such environment\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, "There is no package in the list" in done.stderr) == (2, True)


def test_only_airflows_core_is_enough_and_odd_versions_are_noted():
    odd = {name: at for name, at in {**OF_331, "requests": "built by hand"}.items() if name != "apache-airflow"}
    found = {finding.check: finding for finding in compare(odd, here=False)}
    assert found["apache-airflow"].verdict == "ok"
    assert found["requests"].verdict == "note"


def test_extras_are_followed_and_unknown_ones_refused(tmp_path, capsys):
    assert {each.name for each in requirements(["all"])} > {each.name for each in requirements(["google"])}
    (tmp_path / "list").write_text(frozen(OF_331))
    assert main(["doctor", "--packages", str(tmp_path / "list"), "--extra", "goggle"]) == 2
    assert "goggle" in capsys.readouterr().err
