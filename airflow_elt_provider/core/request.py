"""From what a user types (strings, lists, dicts) to checked plans. Operators and the command line share this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from airflow_elt_provider.core.capture import Capture, parse_capture
from airflow_elt_provider.core.checks import parse_check
from airflow_elt_provider.core.drift import DriftPolicy
from airflow_elt_provider.core.file_format import FileFormat
from airflow_elt_provider.core.modes import DeleteMode, WriteMode, parse_deletes, parse_mode
from airflow_elt_provider.core.plan import Extraction, Guards, Interval, Merging
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError

REDACTED: Final = "***"
"""What takes the place of a redacted value where nobody says what."""


def extraction(  # noqa: PLR0913 - one parameter each of SyncTableOperator
    *,
    stream: str,
    source_table: str | TableRef | None = None,
    query: str | None = None,
    path: str | None = None,
    where: str | None = None,
    capture: str | Capture | dict[str, Any] | None = None,
    cursor_column: str | None = None,
    mode: str | WriteMode = "merge",
    deletes: str | DeleteMode = "ignore",
    primary_key: Iterable[str] | str | None = None,
    interval: Any = None,
    full_refresh: bool | str = False,
    columns: Iterable[str] | str | None = None,
    exclude_columns: Iterable[str] | str = (),
    rename: Mapping[str, str] | None = None,
    column_types: Mapping[str, str] | None = None,
    parallelism: int = 1,
    hash_columns: Mapping[str, str] | None = None,
    redact_columns: Mapping[str, str] | Iterable[str] | str = (),
    max_quarantined_rows: int = 0,
    file_format: str | Mapping[str, Any] | FileFormat | None = None,
) -> Extraction:
    """Return what to read. Parameters are those of ``SyncTableOperator``.

    :raises ConfigurationError: names the parameter that cannot be meant.
    """
    if capture is None:
        capture = "cursor" if cursor_column else "full"
    return Extraction(
        stream=stream,
        table=None if source_table is None else TableRef.of(source_table),
        query=query, path=path, where=(where or "").strip() or None,
        capture=parse_capture(capture, cursor_column),
        mode=parse_mode(mode), deletes=parse_deletes(deletes),
        primary_key=None if primary_key is None else names(primary_key, "primary_key"),
        interval=Interval.parse(interval),
        full_refresh=truth(full_refresh, "full_refresh"),
        columns=None if columns is None else names(columns, "columns"),
        exclude_columns=names(exclude_columns, "exclude_columns"),
        rename=dict(rename or {}), column_types=dict(column_types or {}),
        parallelism=int(parallelism), hash_columns=dict(hash_columns or {}), redact_columns=redactions(redact_columns),
        max_quarantined_rows=int(max_quarantined_rows), file_format=FileFormat.parse(file_format),
    )  # fmt: skip


def merging(  # noqa: PLR0913 - one parameter each of SyncTableOperator
    *,
    target_table: str | TableRef,
    mode: str | WriteMode | None = None,
    deletes: str | DeleteMode | None = None,
    on_schema_drift: str | Mapping[str, str] | DriftPolicy = "evolve",
    checks: Iterable[Any] = (),
    max_delete_ratio: float = 0.5,
    min_deletes_for_ratio: int = 100,
    allow_empty: bool = False,
    max_quarantined_rows: int = 0,
    table_options: Mapping[str, Any] | None = None,
) -> Merging:
    """Return how to merge. Parameters are those of ``SyncTableOperator``.

    :raises ConfigurationError: names the parameter that cannot be meant.
    """
    return Merging(
        target=TableRef.of(target_table),
        mode=None if mode is None else parse_mode(mode),
        deletes=None if deletes is None else parse_deletes(deletes),
        drift=DriftPolicy.parse(on_schema_drift),
        checks=tuple(parse_check(check) for check in checks),
        guards=Guards(float(max_delete_ratio), int(min_deletes_for_ratio), allow_empty, int(max_quarantined_rows)),
        table_options=dict(table_options or {}),
    )


def redactions(value: Mapping[str, str] | Iterable[str] | str) -> dict[str, str]:
    """Return column -> text that takes the place of its values; ``***`` where only columns are named.

    :raises ConfigurationError: when it is neither a list of names nor a mapping from names to texts.
    """
    if not isinstance(value, Mapping):
        return dict.fromkeys(names(value, "redact_columns"), REDACTED)
    if not all(isinstance(text, str) for text in value.values()):
        raise ConfigurationError(
            f"redact_columns={dict(value)!r} gives a column something else than a text.",
            hint="name a text for each column, or name the columns alone",
        )
    return dict(value)


def names(value: Iterable[str] | str, parameter: str) -> tuple[str, ...]:
    """Return a list of column names; one name may come alone.

    :raises ConfigurationError: when an entry is not a name, or comes twice.
    """
    found: tuple[Any, ...] = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(name, str) and name for name in found) or len(set(found)) != len(found):
        raise ConfigurationError(
            f"{parameter}={found!r} is not a list of different names.", hint="name each column once"
        )
    return found


def truth(value: bool | str, parameter: str) -> bool:  # noqa: FBT001 - a value to read, not a switch
    """Return a flag that may have come out of a template as text.

    :raises ConfigurationError: when the text says neither yes nor no.
    """
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off", "", "none"}:
        return False
    raise ConfigurationError(f"{parameter}={value!r} is neither true nor false.", hint="give True or False")
