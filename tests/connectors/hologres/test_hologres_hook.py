"""From an Airflow connection to a Hologres instance, and what its Test button says."""

from __future__ import annotations

import json
import re

import pytest

from airflow_elt_provider.connectors.hologres.settings import Timestamps, Transactions
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.hooks.forms import HOLOGRES
from airflow_elt_provider.hooks.hologres import EltHologresHook
from tests.airflow.in_process import environment

ENDPOINT = "hgprecn-cn-x-ap-northeast-1.hologres.aliyuncs.com"


def connection(**fields):
    return environment(AIRFLOW_CONN_C=json.dumps({"conn_type": "hologres", **fields}))


def test_an_access_key_leads_to_port_80():
    extra = {"elt_transactions": "on", "timestamptz": "milliseconds", "sslmode": "require", "lock_timeout": 5}
    with connection(host=ENDPOINT, login="LTAI", password="hunter2", schema="warehouse", extra=extra):
        settings = EltHologresHook("c").settings()
        named = EltHologresHook("c").lineage_name(TableRef.parse("raw.item"))
    assert (settings.host, settings.port, settings.user, settings.dbname) == (ENDPOINT, 80, "LTAI", "warehouse")
    assert (settings.elt_transactions, settings.timestamptz) == (Transactions.ON, Timestamps.MILLISECONDS)
    assert settings.keywords()["sslmode"] == "require"
    assert settings.keywords()["application_name"] == "airflow-elt-provider"
    assert settings.lock_timeout == 5.0
    assert "hunter2" not in repr(settings) + str(settings)
    assert named == (f"hologres://{ENDPOINT}:80", "warehouse.raw.item")


@pytest.mark.parametrize("missing", ["host", "login", "schema"])
def test_what_is_missing_is_named(missing):
    fields = {"host": ENDPOINT, "login": "LTAI", "password": "x", "schema": "warehouse"}
    del fields[missing]
    with connection(**fields), pytest.raises(ConfigurationError, match=f"has no {missing}"):
        EltHologresHook("c").get_destination()


def test_it_is_no_source():
    with pytest.raises(ConfigurationError, match="no source"):
        EltHologresHook("c").get_source()


def test_the_test_button_tells_what_the_instance_can_do(instance, older, postgres, dbname):
    fields = {"host": "127.0.0.1", "login": instance.user, "password": instance.password, "schema": dbname}
    for port, good, says in (
        (instance.port, True, "Hologres 2.2.14 at .*: merges run in transactions"),
        (older.port, True, "Hologres 1.3.44 at .*: merges run without transactions: only mode='merge'"),
        (postgres.port, False, "is not Hologres"),
    ):
        with connection(port=port, **fields):
            ok, message = EltHologresHook("c").test_connection()
        assert ok is good
        assert re.search(says, message), message
    with connection(port=instance.port, **{**fields, "password": "hunter2"}):
        ok, message = EltHologresHook("c").test_connection()
    assert not ok
    assert "AccessKey secret" in message
    assert "hunter2" not in message


def test_the_form():
    entry = HOLOGRES.provider_entry()
    assert entry["connection-type"] == "hologres"
    assert entry["conn-fields"]["elt_transactions"]["schema"]["enum"] == ["auto", "on", "off", None]
    assert entry["ui-field-behaviour"]["relabeling"]["login"] == "AccessKey ID"
    assert EltHologresHook.get_ui_field_behaviour() == HOLOGRES.behaviour()
