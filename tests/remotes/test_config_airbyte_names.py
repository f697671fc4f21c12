"""Names that people give, answers that nobody expects, and words in the wrong place."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.file_paths import slug
from tests.fakes.airbyte import FakeAirbyte
from tests.fakes.airbyte_objects import Stream
from tests.fakes.http_fake import Fault
from tests.remotes.config_airbyte_bench import (
    CONNECTION,
    DAILY,
    DIALECTS,
    FILE,
    ITEMS,
    NUMBER,
    SHOP,
    TEXT,
    Bench,
    bench_of,
    furnish,
)  # fmt: skip

ODD_NAMES = ("Shop", "shop.lock", "shop.proposed", "店" * 100, "店" * 101, "店舗 → DB", "CON", "..", "a/b")
DOTTED = Stream("orders.2024", "pub.lic", {"id": NUMBER, "at": TEXT}, ["id"], "at", "incremental_deduped_history")
ODD_STREAMS = [DOTTED, Stream("注文", "公開"), Stream("plain")]
_LONGEST = 255


@pytest.fixture(params=["public", "config", "config 0.40"], ids=lambda name: name.replace(" ", "_"))
def bench(request: pytest.FixtureRequest) -> Any:
    with FakeAirbyte(**DIALECTS[request.param][0]) as server:
        furnish(server)
        yield bench_of(request.param, server)


def test_names_that_are_hard_to_write_into_files(bench: Bench) -> None:
    lake = next(iter(bench.server.catalogue.destinations))
    for name in ODD_NAMES:
        source = bench.server.add_source(name, configuration={**SHOP, "host": name}, streams=ODD_STREAMS)
        bench.server.add_connection(f"{name} to lake", ODD_STREAMS, source_id=source, destination_id=lake)
    before = dict(bench.export())
    assert max(len(part.encode()) for path in before for part in path.split("/")) < _LONGEST
    assert len({path.lower() for path in before}) == len(before)
    work = bench.work()
    assert {key.name for key in work.files().objects if key.kind == "source"} == {"shop", "crm", *ODD_NAMES}
    assert len(work.files().locks) == len(ODD_NAMES) + 1
    assert bench.export() == before
    assert bench.plan().empty


@pytest.mark.parametrize(("name", "path"), [("shop.lock", "shop-lock"), ("x.PROPOSED", "x-proposed"), ("v1.2", "v1.2")])
def test_no_slug_looks_like_a_lock(name: str, path: str) -> None:
    assert slug(name) == path


@pytest.mark.parametrize("odd", ["text", {"name": "x"}, None], ids=["text", "mapping", "null"])
def test_an_item_of_an_odd_form_is_asked_for_again(bench: Bench, odd: Any, caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("source", "connection"):
        body = {"data": [odd], f"{kind}s": [odd]}
        bench.server.inject(Fault("GET|POST", rf"/{kind}s(/list)?$", status=200, body=body))
        assert DAILY in bench.read().objects
        assert f"Airbyte's list of {kind}s of 'Default Workspace' gave an answer of an unexpected form" in caplog.text


def test_what_the_source_does_not_have_is_named(bench: Bench) -> None:
    bench.export()
    both = {"sync_mode": "full_refresh_overwrite", "fields": ["id", "mial"]}
    streams = {"app.item": {"sync_mode": "full_refresh_overwrite"}}
    if bench.settings.api == "config_v1" or bench.server.public:
        streams["app.users"] = both
    bench.folder.edit(CONNECTION, lambda one: one.update(streams=streams))
    with pytest.raises(ConfigurationError, match=rf"^{DAILY}: .*no stream 'app\.item'") as caught:
        bench.apply()
    assert ITEMS.name in str(caught.value)
    if "app.users" in streams:
        assert "no field 'mial'" in str(caught.value)
        assert "mail" in str(caught.value).replace("mial", "")
    assert bench.written() == []


@pytest.mark.parametrize(
    ("path", "change", "says"),
    [
        (FILE, {"configuration": "postgres"}, "configuration is 'postgres'. Remedy: write a mapping"),
        (FILE, {"configuration": None}, "configuration is None. Remedy: write a mapping"),
        (FILE, {"connector": 5}, "connector is 5. Remedy: write a text"),
        (CONNECTION, {"destination": ["lake"]}, "destination is ['lake']. Remedy: write its name"),
    ],
    ids=["text", "nothing", "number", "list"],
)
def test_values_of_another_form(bench: Bench, path: str, change: dict[str, Any], says: str) -> None:
    bench.export()
    bench.folder.edit(path, lambda one: one.update(change))
    assert says in "\n".join(bench.plan().problems)


def test_a_connection_whose_source_is_gone_is_exported_and_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    gone = next(iter(bench.server.catalogue.sources))
    del bench.server.catalogue.sources[gone]
    assert CONNECTION in bench.export()
    assert f"{DAILY}: its source {gone} is not in its workspace" in caplog.text
    assert bench.plan().empty
