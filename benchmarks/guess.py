"""A guess, and the whole file held against it, beside Arrow's own reader of the same file.

The file has the columns of the benchmark's table; ``--rows`` says how many rows (2,000,000: about 215 MB; with
``--large`` ten million, a good gigabyte).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench
from benchmarks.measuring import Contestant, Role, Run
from benchmarks.report import Report, Target, progress

MOST_SECONDS: Final = 1.0
LEAST_RATIO: Final = 0.6
LARGE_ROWS: Final = 10_000_000
_BLOCK_ROWS: Final = 20_000
GUESS: Final = "elt guess --no-validate"
CHECK: Final = "validation"
ARROW: Final = "pyarrow.csv.open_csv, types inferred"


def run(bench: Bench) -> Report:
    """Measure."""
    rows = LARGE_ROWS if bench.large else bench.rows
    file = _written(bench.new_folder("guess") / "events.csv", rows)
    contestants = [
        Contestant(GUESS, Role.OURS, _process(bench, "guess", file)),
        Contestant(CHECK, Role.OURS, _process(bench, "check", file)),
        Contestant(ARROW, Role.LIMIT, _process(bench, "arrow", file)),
        Contestant("pyarrow.csv.read_csv, types inferred", Role.PEER, _process(bench, "arrow_table", file)),
        Contestant("DuckDB's sniff_csv", Role.PEER, _process(bench, "duckdb_sniff", file)),
        Contestant("pandas.read_csv, first 10,000 rows", Role.PEER, _process(bench, "pandas_head", file)),
    ]
    measured = bench.take_turns(contestants)
    ratio = measured[CHECK].times_as_fast_as(measured[ARROW]) or 0.0
    guess = measured[GUESS].seconds
    targets = [
        Target(f"a guess without validation: under {MOST_SECONDS} s", f"{guess:.2f} s", guess < MOST_SECONDS),
        Target(f"validation: at least {LEAST_RATIO} of the rate of pyarrow.csv", f"{ratio:.2f}", ratio >= LEAST_RATIO),
    ]
    notes = [f"{file.stat().st_size / 1e6:,.0f} MB; every run is a process of its own, its imports are not counted."]
    return Report("guess", f"a CSV file of {rows:,} rows", measured, rows, ARROW, targets, notes)


def _process(bench: Bench, what: str, file: Path) -> Callable[[], Run]:
    return lambda: bench.run("guess_process", what, file)


def _written(path: Path, rows: int) -> Path:
    """Write the file: a few blocks of random values, each row with an id of its own."""
    draw = random.Random(1)
    tails = [_tail(number, draw) for number in range(_BLOCK_ROWS)]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("id,customer_id,description,status,amount,created_at,day,active,score\n")
        for start in range(0, rows, _BLOCK_ROWS):
            file.writelines(f"{start + at},{tail}" for at, tail in enumerate(tails[: rows - start]))
    progress(f"{path.name} written: {path.stat().st_size / 1e6:,.0f} MB")
    return path


def _tail(number: int, draw: random.Random) -> str:
    day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
    return (
        f'{draw.randrange(1, 10**6)},"customer {number % 997}, of town {number % 31}",{("open", "closed")[number % 2]},'
        f"{draw.randrange(1, 10**6) / 100:.2f},{day} {number % 24:02}:{number % 60:02}:{number % 59:02}.{number:06},"
        f"{day},{('true', 'false')[number % 2]},{draw.random() * 100:.6f}\n"
    )
