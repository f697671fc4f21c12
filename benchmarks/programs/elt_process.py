"""The command ``elt`` with its time, its steps' times and its peak memory: what a user types, measured from inside."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time


def main() -> int:
    """Run ``elt`` with this process's arguments; late imports count as its own time."""
    printed = io.StringIO()
    started = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        from airflow_elt_provider.cli import main as elt

        code = elt(sys.argv[1:])
    seconds = time.perf_counter() - started
    from benchmarks.programs.own_process import cpu_seconds, peak_mib

    if code:
        return code
    result = json.loads(printed.getvalue())
    steps = result.pop("seconds")
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "cpu": cpu_seconds(), **steps, "result": result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
