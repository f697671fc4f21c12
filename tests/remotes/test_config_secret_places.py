"""Where secrets hide in configuration, and what only looks like one; and how differences are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.changes import FieldChange
from airflow_elt_provider.remotes.config_as_code.secret_values import marked, refuse_unreadable

PLANTED = "pl4nted-s3cret"


@pytest.mark.parametrize(
    "value",
    [
        {"headers": [{"name": "X-Api-Key", "value": PLANTED}]},
        {"headers": [{"key": "Authorization", "value": f"Basic {PLANTED}"}]},
        {"api_keys": [PLANTED, PLANTED]},
        {"refreshTokens": [[PLANTED]]},
        {"url": f"https://crm.example/v1?page=1&api_key={PLANTED}"},
        {"jdbc_url_params": f"ssl=true;password={PLANTED}"},
        {"blob": json.dumps({"a": {"clientSecret": PLANTED}})},
        {"deep": [[{"list": [f"https://u:{PLANTED}@crm.example"]}]]},
    ],
    ids=["header", "key", "plural", "nested", "query", "jdbc", "json", "userinfo"],
)
def test_a_secret_is_found(value: Any) -> None:
    assert PLANTED not in str(marked(value))
    with pytest.raises(ConfigurationError, match="in the open") as caught:
        refuse_unreadable(value, "shop.yaml")
    assert PLANTED not in str(caught.value)
    refuse_unreadable(marked(value), "shop.yaml")


@pytest.mark.parametrize(
    "value",
    [
        {"headers": [{"name": "Accept", "value": "application/json"}]},
        {"url": "https://crm.example/v1?page=1&key=2&bypass=1"},
        {"template": '{"clientSecret": "{{ config.client_secret }}"}'},
        {"query": "select * from orders where token = 5"},
        {"jdbc_url_params": "password=${SHOP_PASSWORD}"},
        {"long": "a" * 200_000 + "=."},
    ],
    ids=["header", "query", "template", "sql", "variable", "long"],
)
def test_what_is_no_secret_stays(value: Any) -> None:
    assert marked(value) == value


def test_of_a_long_list_only_what_differs_is_shown() -> None:
    fields = [f"field_{number}" for number in range(100)]
    change = FieldChange("streams.app\\.orders.fields", fields, [*fields[1:], "note"])
    assert str(change) == 'streams."app.orders".fields: added ["note"], taken out ["field_0"] (100 -> 100)'
    assert str(FieldChange("a.b", [1], [1, 2])) == "a.b = [1] -> [1, 2]"
    assert str(FieldChange("a", fields, fields[::-1])).startswith('a = ["field_0"')
