"""A fake Fivetran whose connections are kept as files, and what tests of that do by hand."""

from __future__ import annotations

import pytest

from airflow_elt_provider.core.secret import Secret
from airflow_elt_provider.remotes.config_as_code.apply import ApplyOptions
from airflow_elt_provider.remotes.config_as_code.fivetran.configuration import FivetranConfiguration
from airflow_elt_provider.remotes.config_as_code.model import Key
from airflow_elt_provider.remotes.config_as_code.opening import config_server
from airflow_elt_provider.remotes.config_as_code.work import ConfigWork
from tests.fakes.fivetran_schemas import merged_schemas
from tests.remotes.config_memory import MemoryFolder
from tests.remotes.driving import driven_by_httpx
from tests.remotes.systems import FivetranSystem, quickly

PASSWORD = "hunter2-of-the-rental-database"
RENTAL = Key("connection", "warehouse", "rental")
SHOP = {"public": {"orders": ["id", "total", "email"], "users": ["id", "name"]}, "audit": {"log": ["id", "at"]}}
SCHEMAS = r"/schemas$"


def lookup(reference):
    assert reference == "conn:rental.password"
    return Secret(PASSWORD)


@pytest.fixture
def fivetran():
    with FivetranSystem() as running:
        yield running


@pytest.fixture
def server(fivetran):
    return fivetran.server


@pytest.fixture
def work_of(fivetran):
    """Return the work of a new process on a folder."""

    def made(folder, workspaces=None, *, drive=driven_by_httpx, before=lambda step: None, **fields):
        def driven(flow):
            return drive(quickly(flow, before=before, longest=0.001), fivetran.settings)

        return ConfigWork(
            config_server(fivetran.remote()), driven, fivetran.settings.base_url, folder, workspaces, **fields
        )

    return made


@pytest.fixture
def folder():
    return MemoryFolder()


@pytest.fixture
def do(fivetran):
    """Drive a flow of a configuration of its own: `do("discover", id)`."""
    configuration = FivetranConfiguration(fivetran.remote())

    def driven(method, *arguments):
        return driven_by_httpx(quickly(getattr(configuration, method)(*arguments)), fivetran.settings)

    return driven


def rental(server, **fields):
    """Let there be a connection with secrets, of which the server shows one in the open."""
    config = {"password": PASSWORD, "secrets_list": [{"key": "api", "value": "x"}], **fields.pop("config", {})}
    return server.add_connection("rental", tables=SHOP, config=config, **fields)


def text_of(folder, path="warehouse/connections/rental.yaml"):
    return folder.files[path].decode()


def edit(folder, old, new, path="warehouse/connections/rental.yaml"):
    text = text_of(folder, path)
    assert old in text
    folder.files[path] = text.replace(old, new).encode()


def refer(folder):
    """Write where the password is to be found."""
    edit(folder, "$secret: not exported", "$secret: conn:rental.password")


def select(server, connection_id, **change):
    with server.lock:
        one = server.connections[connection_id]
        one.schemas = merged_schemas(one.schemas, change)


def tables(schema, **named):
    """Return a change of the data selection; what is not said is enabled."""
    said = {name: {"enabled": True, **one} for name, one in named.items()}
    return {"schemas": {schema: {"enabled": True, "tables": said}}}


def columns(**named):
    return {"columns": {name: {"enabled": True, **one} for name, one in named.items()}}


def applied(work, **options):
    plan = work.plan()
    return work.apply(plan, lookup, ApplyOptions(**options))
