"""What every destination says of itself when it is asked for its health, before and after its first load."""

from __future__ import annotations

from airflow_elt_provider.core.doctor import Diagnosable, Finding, Inquiry, Verdict
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.engine.doctor import examine_match, examine_state
from tests.contract.world import CREATE, MERGE, World


def test_a_destination_that_works_has_no_problem(world: World) -> None:
    """Neither when it is empty nor when there are targets; and looking changes nothing."""
    table = world.destination.open(lambda _: None)

    def examined() -> list[Finding]:
        own = table.diagnose(Inquiry((TableRef.parse(world.target),))) if isinstance(table, Diagnosable) else ()
        return [*own, examine_state(table), examine_match(world.stage(), table)]

    for finding in examined():
        assert finding.verdict is not Verdict.PROBLEM, finding
    assert world.destination.columns(world.target) == {}
    world.run_at_source(CREATE)
    world.sync(**MERGE)
    before = world.destination.version_of(world.target)
    for finding in examined():
        assert finding.verdict is not Verdict.PROBLEM, finding
    assert world.destination.version_of(world.target) == before
