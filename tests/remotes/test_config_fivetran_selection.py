"""What a Fivetran connection takes of its source: random choices on the server, in files, and random sources."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.fivetran.schemas import canonical, lock_of, synced_tables, with_columns
from airflow_elt_provider.remotes.config_as_code.fivetran.selection import Wanted, patch
from tests.fakes.fivetran_schemas import columns_of, known_after, merged_schemas, reloaded, schema_config

POLICIES = ["ALLOW_ALL", "ALLOW_COLUMNS", "BLOCK_ALL"]
SCHEMAS, TABLES, COLUMNS = ["a", "b.c"], ["t", "u.v", "w"], ["x", "y"]
MORE = {"tables": ["new"], "columns": ["z"], "schemas": ["d"]}


@dataclass
class Server:
    """A connection's data selection, as the fake keeps it: the first column of a table is its primary key."""

    source: dict
    config: dict = field(default_factory=lambda: schema_config({}))
    known: dict = field(default_factory=dict)

    def reload(self, *, first=False):
        self.config = reloaded(self.config, self.source)
        self.known = known_after(self.known, self.source, self.config["schema_change_handling"], first=first)

    def change(self, body):
        self.config = merged_schemas(self.config, body)

    def columns(self, names):
        return {name: columns_of(self.config, self.known, self.source, *name) for name in names}

    def read(self):
        blocks = self.config["schema_change_handling"] == "BLOCK_ALL"
        return with_columns(self.config, self.columns(synced_tables(self.config)) if blocks else {})

    def file(self):
        return canonical(self.read())

    def patch(self, file):
        wanted = Wanted.parse(file, "connection x")
        of_file = self.columns(wanted.taken(self.config)) if wanted.changes == "BLOCK_ALL" else {}
        return patch(with_columns(self.config, of_file), wanted, "connection x")

    def apply(self, file):
        self.change(self.patch(file))


@st.composite
def sources(draw):
    return {
        schema: {table: ["id", *draw(st.sets(st.sampled_from(COLUMNS)).map(sorted))] for table in tables}
        for schema in draw(st.sets(st.sampled_from(SCHEMAS), min_size=1).map(sorted))
        for tables in [draw(st.sets(st.sampled_from(TABLES), min_size=1).map(sorted))]
    }


def said(draw, names, one):
    return {name: one() for name in names if draw(st.booleans())}


@st.composite
def choices(draw, source):
    """A change that somebody makes by hand."""
    boolean = lambda: draw(st.booleans())  # noqa: E731

    def column():
        return {"enabled": boolean(), "hashed": boolean()}

    def table(columns):
        modes = {"sync_mode": draw(st.sampled_from(["SOFT_DELETE", "HISTORY"]))} if boolean() else {}
        return {"enabled": boolean(), **modes, "columns": said(draw, columns[1:], column)}

    schemas = {
        name: {"enabled": boolean(), "tables": {one: table(columns) for one, columns in tables.items() if boolean()}}
        for name, tables in source.items()
        if boolean()
    }
    policy = {"schema_change_handling": draw(st.sampled_from(POLICIES))} if boolean() else {}
    return {**policy, "schemas": schemas}


@st.composite
def servers(draw, source):
    server = Server(copy.deepcopy(source))
    server.reload(first=True)
    for _ in range(draw(st.integers(0, 3))):
        server.change(draw(choices(source)))
    return server


@st.composite
def pairs(draw):
    source = draw(sources())
    return draw(servers(source)), draw(servers(source))


@given(pairs())
def test_any_selection_becomes_any_other_in_one_pass(pair):
    server, other = pair
    file = other.file()
    server.apply(file)
    assert server.file() == file
    assert server.patch(file) == {}


@given(pairs())
def test_a_new_connection_syncs_what_the_old_one_did(pair):
    old, _ = pair
    new = Server(old.source)
    new.reload(first=True)
    new.apply(old.file())

    def synced(server):
        return {
            (name, column)
            for name, columns in server.columns(synced_tables(server.config)).items()
            for column, one in columns.items()
            if one["enabled"]
        }

    assert synced(new) == synced(old)


@given(pairs(), st.data())
def test_what_the_source_adds_changes_no_file(pair, data):
    server, _ = pair
    file = server.file()
    for tables in server.source.values():
        for columns in tables.values():
            columns.extend(said(data.draw, MORE["columns"], str))
        tables.update(said(data.draw, MORE["tables"], lambda: ["id", "x"]))
    server.source.update(said(data.draw, MORE["schemas"], lambda: {"t": ["id", "x"]}))
    server.reload()
    assert server.file() == file
    assert server.patch(file) == {}


def test_a_table_that_comes_into_a_disabled_schema_is_not_listed():
    server = Server({"a": {"t": ["id"]}, "d": {"t": ["id"]}})
    server.reload(first=True)
    server.change({"schemas": {"d": {"enabled": False}}})
    server.source["d"]["new"] = ["id"]
    server.reload()
    assert server.file() == {"changes": "ALLOW_ALL", "schemas": {"d": {"enabled": False}}}


def test_columns_of_tables_that_are_not_synced_are_let_alone():
    server = Server({"a": {"t": ["id", "x"]}})
    server.reload(first=True)
    table = {"enabled": False, "columns": {"x": {"enabled": True}}}
    server.change({"schema_change_handling": "BLOCK_ALL", "schemas": {"a": {"enabled": True, "tables": {"t": table}}}})
    assert server.file() == {"changes": "BLOCK_ALL"}
    assert server.patch(server.file()) == {}


def test_what_fivetran_lets_nobody_change_is_neither_listed_nor_sent():
    server = Server({"a": {"t": ["id", "x"], "w": ["id"]}})
    server.reload(first=True)
    fixed = {"allowed": False, "reason_code": "SYSTEM_TABLE"}
    server.config["schemas"]["a"]["tables"]["w"] |= {"enabled_patch_settings": fixed, "enabled": False}
    assert server.file() == {"changes": "ALLOW_ALL"}
    server.apply({"changes": "ALLOW_ALL", "tables": {"a.w": {"enabled": True}}})
    assert server.config["schemas"]["a"]["tables"]["w"]["enabled"] is False


def test_a_table_that_is_gone_is_not_listed():
    server = Server({"a": {"t": ["id"], "w": ["id"]}})
    server.reload(first=True)
    server.change({"schemas": {"a": {"enabled": True, "tables": {"w": {"enabled": False}}}}})
    del server.source["a"]["w"]
    server.reload()
    assert server.file() == {"changes": "ALLOW_ALL"}
    assert set(lock_of(server.config, {}).streams) == {"a.t"}


@pytest.mark.parametrize(
    ("value", "said_of_it"),
    [
        ("everything", "'everything' is none of schema"),
        ({"changes": "ALL"}, r"schema.changes is 'ALL'.*ALLOW_ALL"),
        ({"table": {}}, "'table' is none of schema"),
        ({"tables": ["a.t"]}, "tables is"),
        ({"tables": {"t": {}}}, r"'t' names no table.*schema\.table"),
        ({"tables": {"a.t": {"mode": "LIVE"}}}, "'mode' is none of tables"),
        ({"tables": {"a.t": {"columns": {"x": {"hash": True}}}}}, "'hash' is none of columns"),
        ({"schemas": {"e": {"enabled": False}}}, r"no schema 'e'.*it has a"),
        ({"tables": {"a.tt": {"enabled": False}}}, r"no table 'a\.tt'.*a\.t"),
    ],
    ids=["text", "policy", "key", "list", "undotted", "table key", "column key", "schema", "table"],
)
def test_what_cannot_be_meant_is_refused(value, said_of_it):
    server = Server({"a": {"t": ["id"]}})
    server.reload(first=True)
    with pytest.raises(ConfigurationError, match=said_of_it) as refused:
        server.patch(value)
    assert "connection x" in str(refused.value)
