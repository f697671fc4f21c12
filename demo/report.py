"""What the demo prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from demo.proof import Agreement


def heading(text: str) -> None:
    """Print the headline of a step."""
    print(f"\n\033[1m{text}\033[0m", flush=True)


def result_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what each table's sync did, and the sum."""
    head = ("table", "extracted", "inserted", "updated", "seconds")
    rows = [
        (table, result["extracted"], result["inserted"], result["updated"], sum(result["seconds"].values()))
        for table, result in sorted(results.items())
    ]
    total = ("", *(sum(row[column] for row in rows) for column in range(1, len(head))))
    return _aligned([head, *rows, total])


def agreement_table(agreements: Iterable[Agreement]) -> str:
    """Return how source and warehouse compare."""
    head = ("table", "source rows", "warehouse rows", "rows that differ")
    return _aligned([head, *((one.table, one.source_rows, one.target_rows, one.different) for one in agreements)])


def _aligned(rows: Sequence[Sequence[object]]) -> str:
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in texts
    )


def _text(cell: object) -> str:
    return f"{cell:,.2f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)
