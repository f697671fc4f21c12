"""Which tables of a schema there are, at run time; the first task of ``sync_tables``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_elt_provider._compat import AirflowSkipException, AirflowTaskTimeout, Context
from airflow_elt_provider.core.table_ref import TableRef
from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.operators._mapping import own_names, refuse_too_many
from airflow_elt_provider.operators._overrides import (
    matches,
    own_parameters,
    refuse_shared_targets,
    refuse_unmatched,
)
from airflow_elt_provider.operators._reads import ReadsSource
from airflow_elt_provider.operators._rendered import table as read_name
from airflow_elt_provider.operators._table_outcomes import push_failure, push_result
from airflow_elt_provider.operators._task import EltOperator, UsesStage
from airflow_elt_provider.operators._writes import MergesRows
from airflow_elt_provider.operators.sync import SyncTableOperator

if TYPE_CHECKING:
    from airflow_elt_provider.core.protocols import Source

log = logging.getLogger(__name__)


class DiscoverTablesOperator(EltOperator):
    """Lists a schema's tables as arguments of a mapped :class:`SyncTableOperator`.

    Its result (XCom) is ``[{"source_table", "target_table"}, ...]``, sorted by name. No two tables have one target.

    :param source_conn_id: a connection whose type the registry knows as a source.
    :param source_schema: the schema. (templated)
    :param include: names, or patterns with ``*`` and ``?``, of the tables to take. (templated)
    :param exclude: of the tables to leave out. (templated)
    :param target_table: the target's name with ``{prefix}``, ``{schema}`` and ``{table}`` in it. (templated)
    :param prefix: what ``{prefix}`` stands for. (templated)
    :param overrides: table name or pattern -> parameters of its own, of which ``target_table`` counts here. (templated)
    """

    template_fields: Sequence[str] = ("source_schema", "include", "exclude", "target_table", "prefix", "overrides")
    ui_color = "#f8f8d8"

    def __init__(
        self,
        *,
        source_conn_id: str,
        source_schema: str,
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] = (),
        target_table: str = "{prefix}{schema}.{table}",
        prefix: str = "",
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.source_schema = source_schema
        self.include = [include] if isinstance(include, str) else list(include)
        self.exclude = [exclude] if isinstance(exclude, str) else list(exclude)
        self.target_table = target_table
        self.prefix = prefix
        self.overrides = {name: _targets_only(own) for name, own in (overrides or {}).items()}

    def run_step(self, context: Context) -> list[dict[str, str]]:  # noqa: ARG002
        """Discover."""
        from airflow_elt_provider.hooks.systems import source_hook

        source: Source = source_hook(self.source_conn_id).get_source()
        found = self._stoppable(lambda: source.tables(self.source_schema), source.cancel)
        wanted = sorted((table for table in found if self._wants(table)), key=lambda table: table.parts)
        if not wanted:
            raise ConfigurationError(
                f"Schema {self.source_schema!r} of connection {self.source_conn_id!r} has no table that "
                f"include={self.include!r} and exclude={self.exclude!r} let through "
                f"(it has {', '.join(sorted(table.name for table in found)) or 'none at all'}).",
                hint="correct the schema or the patterns, or grant SELECT to the connection's user",
            )
        refuse_too_many(
            len(wanted), f"tables of schema {self.source_schema!r}", "divide them by include among several groups"
        )
        refuse_unmatched(self.overrides, found, self.source_schema)
        targets = [(table, self._target(table)) for table in wanted]
        refuse_shared_targets(targets)
        log.info("%s: %d tables of %d: %s", self.source_schema, len(wanted), len(found),
                 ", ".join(table.name for table in wanted))  # fmt: skip
        return [{"source_table": str(table), "target_table": str(target)} for table, target in targets]

    def _wants(self, table: TableRef) -> bool:
        return matches(table, self.include) and not matches(table, self.exclude)

    def _target(self, table: TableRef) -> TableRef:
        own = read_name(own_parameters(self.overrides, table).get("target_table"), f"target_table of {table}")
        return own or target_of(self.target_table, self.prefix, table)


def _targets_only(own: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in own.items() if name == "target_table" and value is not None}


def target_of(template: str, prefix: str, source: TableRef) -> TableRef:
    """Return a target's name, each of its parts filled in by itself: a dot in a table's name does not split it.

    :raises ConfigurationError: for an unknown placeholder, or a template that is no table name.
    """
    known = {"schema": source.parts[-2] if len(source.parts) > 1 else "", "table": source.name}
    # The prefix is the user's own text: its dots and quotes mean what they mean in a table's name.
    parts = TableRef.parse(template.replace("{prefix}", prefix)).parts
    try:
        return TableRef(tuple(part.format_map(known) for part in parts))
    except (KeyError, ValueError, IndexError) as error:
        raise ConfigurationError(
            f"target_table={template!r} has a placeholder that cannot be filled in ({error}).",
            hint="use {prefix}, {schema} and {table}",
        ) from None


class SyncDiscoveredTableOperator(SyncTableOperator):
    """One table of ``sync_tables``: the group's parameters, with those of the table's own in their place.

    What became of it lies in an XCom of its own for the summary, whether it succeeds or fails. The names are not
    templates: the source gave them, and whoever may create a table there would be asking Airflow for its secrets.

    :param overrides: table name or pattern -> parameters; the whole name goes before patterns.
    """

    template_fields: Sequence[str] = tuple(
        name for name in SyncTableOperator.template_fields if name not in {"source_table", "target_table"}
    )
    custom_operator_name = "SyncTableOperator"

    def __init__(self, *, overrides: Mapping[str, Mapping[str, Any]] | None = None, **kwargs: Any) -> None:
        self.overrides = dict(overrides or {})
        source = kwargs.get("source_table")
        own = own_parameters(self.overrides, TableRef.parse(source)) if isinstance(source, str) else {}
        self._unknown = sorted(set(own) - _OWN - {"target_table"})
        super().__init__(**{**kwargs, **{name: value for name, value in own.items() if name in _OWN}})

    def run_step(self, context: Context) -> dict[str, Any]:
        """Sync the table, and leave word of it.

        :raises ConfigurationError: for parameters that no table has of its own; only this one fails for them.
        """
        try:
            self._refuse_unknown()
            result = super().run_step(context)
        except AirflowSkipException:
            raise
        except (Exception, AirflowTaskTimeout) as error:
            push_failure(context, str(self.source_table), error)
            raise
        push_result(context, str(self.source_table), result)
        return result

    def _found_out(self) -> frozenset[str]:
        return frozenset()  # nothing that is in template_fields: the overrides are the user's own

    def _refuse_unknown(self) -> None:
        if self._unknown:
            unknown = ", ".join(self._unknown)
            raise ConfigurationError(
                f"overrides of {self.source_table} name {unknown}, which a table cannot have of its own.",
                hint="give parameters of SyncTableOperator; what Airflow decides (pool, queue, retries) is the group's",
            )


_OWN: Final = frozenset({"execution_timeout"}).union(
    *map(own_names, (ReadsSource, MergesRows, UsesStage, SyncTableOperator))
) - {"source_table", "target_table"}
"""What a table may have of its own; its target comes from the task that found it, which knows the overrides too."""
