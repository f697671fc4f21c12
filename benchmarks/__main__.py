"""Run the benchmarks: python -m benchmarks [name ...] [--rows N] [--rounds N] [--large]."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

from benchmarks.bench import FOLDER, Bench
from benchmarks.measuring import ROUNDS
from benchmarks.report import Report, machine, write

NAMES: Final = (
    "imports", "extract", "postgres_to_postgres", "postgres_to_duckdb", "idle", "memory", "airflow_task", "remotes",
    "merge_changes", "fingerprint", "wal", "reconcile", "statements", "triggerer", "guess", "files", "workers",
    "remote_config",
)  # fmt: skip
ROWS: Final = 2_000_000


def main() -> int:
    """Run them one after the other and print a table of each."""
    arguments = _arguments()
    print(f"{machine()}; {arguments.rows:,} rows; medians of {arguments.rounds} rounds in which all take turns; "
          "ratios are medians over the rounds, more is faster")  # fmt: skip
    reports: list[Report] = []
    failed: list[str] = []
    with Bench(arguments.rows, arguments.rounds, large=arguments.large, peers=not arguments.without_peers) as bench:
        for name in arguments.names or NAMES:
            print(f"{name} ...", file=sys.stderr)
            try:
                report = importlib.import_module(f"benchmarks.{name}").run(bench)
            except RuntimeError as error:
                print(f"\n{name} FAILED: {error}", flush=True)
                failed.append(name)
                continue
            print(report, flush=True)
            reports.append(report)
            write([report], FOLDER / "results.json")
    missed = [target for report in reports for target in report.targets if target.reached is False]
    print(f"\n{FOLDER.name}/results.json has every run. {len(missed)} targets missed.")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"size of the table (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--large", action="store_true", help="also measure memory with ten times the rows")
    parser.add_argument("--without-peers", action="store_true", help="leave out dlt and others: much quicker")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}: choose from {', '.join(NAMES)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
