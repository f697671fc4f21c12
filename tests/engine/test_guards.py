"""What looks like many deletes and is none: the load stops before the merge, and says which it is."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from airflow_elt_provider.errors import ConfigurationError, DataError, DeleteRatioError
from tests.contract.world import CREATE, MIRROR, REPLACE, World

pytestmark = pytest.mark.lowest


class Elsewhere:
    """The same server, with another user."""

    def __init__(self, server, user):
        self._server, self.user, self.password = server, user, "pw"

    def __getattr__(self, name):
        return getattr(self._server, name)


@pytest.fixture
def reader(world: World):
    """Lend a world whose source is read by a user who may only read."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    world.run_at_source(CREATE)
    world.run_at_source(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON item TO {role}")
    yield replace(world, server=Elsewhere(world.server, role)), world.run_at_source, role
    world.run_at_source(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("mode", [MIRROR, REPLACE], ids=["mirror", "replace"])
def test_a_policy_that_came_later(reader, mode):
    world, run, role = reader
    world.sync(**mode)
    run(f"ALTER TABLE item ENABLE ROW LEVEL SECURITY; CREATE POLICY seen ON item TO {role} USING (id > 3)")
    for full_refresh in (False, True):
        with pytest.raises(ConfigurationError, match=rf'"item".* Row security hides rows from role .{role}.*BYPASSRLS'):
            world.sync(full_refresh=full_refresh, **mode)
    assert len(world.target_rows()) == 9
    run(f"ALTER ROLE {role} BYPASSRLS")
    assert world.sync(**mode).deleted == 0


def test_a_grant_that_was_lost(reader):
    world, run, role = reader
    world.sync(**MIRROR)
    run(f"REVOKE SELECT ON item FROM {role}; GRANT SELECT (id, name) ON item TO {role}")
    with pytest.raises(ConfigurationError, match=r"permission|privilege"):
        world.sync(**MIRROR)
    assert len(world.target_rows()) == 9


def test_another_database_behind_the_same_name(world: World):
    world.run_at_source(CREATE)
    world.sync(**MIRROR)
    with world.server.database() as other:
        elsewhere = replace(world, dbname=other)
        elsewhere.run_at_source(CREATE + "; DELETE FROM item WHERE id > 1")
        with pytest.raises(ConfigurationError, match=f"source .*{world.dbname}.*{other}"):
            elsewhere.sync(**MIRROR)
    assert len(world.target_rows()) == 9


def test_an_empty_source_and_a_mass_delete(world: World):
    world.run_at_source(CREATE)
    world.sync(**MIRROR)
    world.run_at_source("DELETE FROM item WHERE id > 4")
    with pytest.raises(DeleteRatioError, match="5 of 9"):
        world.sync(min_deletes_for_ratio=1, **MIRROR)
    world.run_at_source("DELETE FROM item")
    with pytest.raises(DataError, match="allow_empty"):
        world.sync(**MIRROR)
    assert len(world.target_rows()) == 9
