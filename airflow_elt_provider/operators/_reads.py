"""The parameters that say what to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_elt_provider.connectors.files.pattern import FilePattern
from airflow_elt_provider.core import request
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._rendered import is_template, table
from airflow_elt_provider.operators._task import EltOperator

if TYPE_CHECKING:
    from airflow_elt_provider.core.capture import Capture
    from airflow_elt_provider.core.file_format import FileFormat
    from airflow_elt_provider.core.modes import DeleteMode, WriteMode
    from airflow_elt_provider.core.plan import Extraction

FILES = "files"
"""Stands for a path in the default name of a stream."""
_SOME_TABLE = "some.table"
"""Stands for a name that is not rendered yet, where only the other parameters are looked at."""


class ReadsSource(EltOperator):
    """An operator that reads a source.

    :param source_conn_id: a connection whose type the registry knows as a source.
    :param source_table: the table, e.g. ``public.actor``; names with dots or quotes in double quotes. (templated)
    :param query: a SELECT instead of a table, or the name of a ``.sql`` file. (templated)
    :param path: files instead of a table, e.g. ``s3://bucket/original-data/*.csv``. (templated)
    :param where: an extra predicate in the source's SQL. (templated)
    :param capture: how changes are found: ``full``, ``cursor``, ``xmin``, ``fingerprint``, ``wal``, or (with ``path``)
        ``new_files``, or a value such as ``Cursor("updated_at")``; default ``cursor`` where ``cursor_column`` is given,
        else ``full``.
    :param cursor_column: shorthand for ``Cursor(...)``.
    :param mode: what a merge does with the rows: ``merge``, ``append``, ``replace`` or ``history``.
    :param deletes: what becomes of target rows that are gone from the source: ``ignore``, ``soft`` or ``hard``.
    :param primary_key: columns that identify a row; default: read from the source.
    :param interval: ``(start, end)`` on the cursor column: a backfill that leaves the checkpoint alone. (templated)
    :param full_refresh: forget the checkpoint. (templated: ``"true"`` or ``"false"``)
    :param columns: source columns to take; default all.
    :param exclude_columns: source columns to leave out.
    :param hash_columns: source column -> id of a connection; an HMAC-SHA-256 of each value under that connection's
        password takes its place.
    :param redact_columns: source columns whose values become ``***``, or a mapping from column to another text.
    :param rename: source name -> name in the target.
    :param column_types: source name -> type, e.g. ``{"amount": "decimal(18,4)"}``.
    :param file_format: how the rows stand in the files of ``path``: ``csv``, ``jsonl``, ``parquet``, or a mapping such
        as ``{"delimiter": ";", "charset": "cp932"}``; default: CSV in UTF-8, or what the names of the files say.
    :param parallelism: ranges of the table that are read at once, under one snapshot.
    :param stream: name of the checkpoint; default ``<source_conn_id>.<source_table>-><target_table>``.
    :param target_table: where the rows will go; here only for the stream's name. (templated)
    """

    max_quarantined_rows: int = 0

    def __init__(
        self,
        *,
        source_conn_id: str,
        source_table: str | TableRef | None = None,
        query: str | None = None,
        path: str | None = None,
        where: str | None = None,
        capture: str | Capture | dict[str, Any] | None = None,
        cursor_column: str | None = None,
        mode: str | WriteMode = "merge",
        deletes: str | DeleteMode = "ignore",
        primary_key: Sequence[str] | str | None = None,
        interval: Sequence[Any] | str | None = None,
        full_refresh: bool | str = False,
        columns: Sequence[str] | None = None,
        exclude_columns: Sequence[str] = (),
        hash_columns: Mapping[str, str] | None = None,
        redact_columns: Mapping[str, str] | Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
        column_types: Mapping[str, str] | None = None,
        file_format: str | Mapping[str, Any] | FileFormat | None = None,
        parallelism: int = 1,
        stream: str | None = None,
        target_table: str | TableRef | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        # Airflow renders strings, not our values.
        self.source_table = str(source_table) if isinstance(source_table, TableRef) else source_table
        self.query = query
        self.path = path
        self.where = where
        self.capture = capture
        self.cursor_column = cursor_column
        self.mode = mode
        self.deletes = deletes
        self.primary_key = primary_key
        self.interval = interval
        self.full_refresh = full_refresh
        self.columns = columns
        self.exclude_columns = exclude_columns
        self.hash_columns = hash_columns
        self.redact_columns = redact_columns
        self.rename = rename
        self.column_types = column_types
        self.file_format = file_format
        self.parallelism = parallelism
        self.stream = stream
        self.target_table = str(target_table) if isinstance(target_table, TableRef) else target_table
        if not self._is_being_mapped():  # at run time execute() checks, and knows what Airflow does with our errors
            self._check_reading()

    def _check_reading(self) -> None:
        """Check, while the DAG file is parsed, whatever holds no template."""
        source_table = _SOME_TABLE if is_template(self.source_table) else self.source_table
        interval = ("0", "1") if is_template(self.interval) else self.interval
        refresh = False if is_template(self.full_refresh) else self.full_refresh
        self._request(self.stream or self.task_id, table(source_table, "source_table"), interval, refresh)
        if self.path is not None and not is_template(self.path):
            FilePattern.parse(self.path)
        if not is_template(self.target_table):
            table(self.target_table, "target_table")

    def extraction(self) -> Extraction:
        """Return what to read, rendered and checked.

        :raises ConfigurationError: names the parameter that cannot be meant.
        """
        if self.query is not None and str(self.query).strip() in {"", "None"}:
            raise ConfigurationError(f"query rendered to {self.query!r}.", hint="see what its template refers to")
        if self.path is not None and str(self.path).strip() in {"", "None"}:
            raise ConfigurationError(f"path rendered to {self.path!r}.", hint="see what its template refers to")
        where = None if str(self.where).strip() in {"", "None"} else self.where
        return self._request(
            self.stream_name(), table(self.source_table, "source_table"), self.interval, self.full_refresh, where
        )

    def stream_name(self) -> str:
        """Return the name of the checkpoint.

        :raises ConfigurationError: when there is nothing to make it of.
        """
        # Like a query a path is often a template: its text must not be part of the checkpoint's name.
        source = FILES if self.path is not None else self.source_table
        return stream_name(self.stream, self.source_conn_id, source, self.target_table, self.task_id)

    def _request(
        self, stream: str, source: TableRef | None, interval: Any, full_refresh: Any, where: str | None = None
    ) -> Extraction:
        return request.extraction(
            stream=stream,
            source_table=source,
            query=self.query,
            path=self.path,
            where=where,
            capture=self.capture,
            cursor_column=self.cursor_column,
            mode=self.mode,
            deletes=self.deletes,
            primary_key=self.primary_key,
            interval=interval,
            full_refresh=full_refresh,
            columns=self.columns,
            exclude_columns=self.exclude_columns,
            hash_columns=self.hash_columns,
            redact_columns=self.redact_columns,
            rename=self.rename,
            column_types=self.column_types,
            file_format=self.file_format,
            parallelism=self.parallelism,
            max_quarantined_rows=self.max_quarantined_rows,
        )


def stream_name(
    stream: str | None, source_conn_id: str | None, source_table: str | None, target_table: str | None, task_id: str
) -> str:
    """Return a stream's name: the given one, or the one that all steps and the command line agree on.

    :raises ConfigurationError: when there is neither.
    """
    if stream and stream != "None":
        return stream
    target = table(target_table, "target_table")
    if not source_conn_id or target is None:
        raise ConfigurationError(
            f"Task {task_id!r} cannot tell which stream it belongs to.",
            hint="give stream='...', the same in every step; or source_conn_id, source_table and target_table, "
            "of which the default name is made",
        )
    from airflow_elt_provider.engine.sync import default_stream

    # A query is often a template: its text must not be part of the checkpoint's name.
    return default_stream(source_conn_id, str(table(source_table, "source_table") or "query"), target)
