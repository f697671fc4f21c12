"""What a DAG file pays for importing our operators."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from typing import Final

from benchmarks.bench import Bench
from benchmarks.measuring import Contestant, Measured, Role, Run, Skipped
from benchmarks.report import Report, Target

ROUNDS: Final = 7
MOST_SECONDS: Final = 0.050
OURS: Final = "all our operators and task groups"
PEERS: Final = {
    "amazon's SqlToS3Operator": "airflow.providers.amazon.aws.transfers.sql_to_s3",
    "amazon's S3ToSqlOperator": "airflow.providers.amazon.aws.transfers.s3_to_sql",
    "amazon's S3ToRedshiftOperator": "airflow.providers.amazon.aws.transfers.s3_to_redshift",
    "postgres' PostgresHook": "airflow.providers.postgres.hooks.postgres",
}


def run(bench: Bench) -> Report:
    """Measure."""
    contestants = [Contestant(OURS, Role.OURS, lambda: _import(bench, _operators()))]
    contestants += [Contestant(name, Role.PEER, lambda m=module: _import(bench, [m])) for name, module in PEERS.items()]
    measured = bench.take_turns(contestants, ROUNDS)
    return Report(
        "imports", "importing after `airflow.sdk`, fresh processes", measured, targets=_targets(measured[OURS]),
        notes=[f"{name}: {_heavy(one)}" for name, one in measured.items() if one.runs],
        columns=["modules", "MiB added"],
    )  # fmt: skip


def _operators() -> list[str]:
    import airflow_elt_provider.operators as package

    modules = [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    return [*modules, "airflow_elt_provider.task_groups"]


def _import(bench: Bench, modules: Sequence[str]) -> Run:
    try:
        return bench.run("import_process", *modules)
    except RuntimeError as error:
        if "ModuleNotFoundError" in str(error) or "ImportError" in str(error):
            raise Skipped(str(error).strip().splitlines()[-1]) from error
        raise


def _heavy(one: Measured) -> str:
    return ", ".join(one.runs[0].details["heavy"]) or "no heavy package"


def _targets(ours: Measured) -> list[Target]:
    promise = f"at most {MOST_SECONDS * 1000:.0f} ms"
    return [
        Target(promise, f"{ours.seconds * 1000:.0f} ms", ours.seconds <= MOST_SECONDS),
        Target("none of the heavy packages", _heavy(ours), not ours.runs[0].details["heavy"]),
    ]
