"""What OpenLineage hears of a step. Without its provider nothing is said and nothing fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow_elt_provider.core.checkpoint import Position
    from airflow_elt_provider.core.manifest import Manifest
    from airflow_elt_provider.core.plan import Extraction
    from airflow_elt_provider.core.protocols import ChangeSet, Memory, Source
    from airflow_elt_provider.core.schema import TableSchema
    from airflow_elt_provider.core.table_ref import TableRef
    from airflow_elt_provider.engine.merge import SyncResult
    from airflow_elt_provider.remotes.model import Report, StreamReport

_NAMESPACE: Final = "openlineage_namespace"
_NAME: Final = "openlineage_name"


@dataclass(frozen=True)
class NamedSource:
    """A source that writes its name into each manifest, so that merge, far away from it, can say where rows came from.

    :param namespace: OpenLineage's name of the server.
    :param name: OpenLineage's name of the table.
    """

    source: Source
    namespace: str
    name: str

    @contextmanager
    def changes(
        self,
        extraction: Extraction,
        since: Position | None,
        until: Position | None = None,
        memory: Memory | None = None,
    ) -> Iterator[ChangeSet]:
        """Pass on what the source gives."""
        with self.source.changes(extraction, since, until, memory) as found:
            yield replace(found, facts={**found.facts, _NAMESPACE: self.namespace, _NAME: self.name})

    def tables(self, schema: str) -> Any:
        """Pass on what the source has."""
        return self.source.tables(schema)

    def cancel(self) -> None:
        """Cancel at the source."""
        self.source.cancel()


def named(source: Source, name: tuple[str, str] | None) -> Source:
    """Return the source with its lineage name; a query has none."""
    return NamedSource(source, *name) if name else source


def nothing() -> Any:
    """Return the lineage of a step that failed before there was any. None where OpenLineage is not installed."""
    parts = _parts()
    return parts[1]() if parts else None


def merged(result: SyncResult, output: tuple[str, str], query: str | None = None) -> Any:
    """Return the lineage of a merge: source, target, columns and counts. None where OpenLineage is not installed."""
    parts = _parts()
    if parts is None:
        return None
    facet, lineage = parts
    manifest = result.manifest
    origin = _origin(manifest)
    facets: dict[str, Any] = {}
    if manifest is not None:
        facets["schema"] = _schema(facet, manifest.schema)
        if origin:
            facets["columnLineage"] = _columns(facet, manifest, origin)
    statistics = facet.OutputStatisticsOutputDatasetFacet(
        rowCount=result.inserted + result.updated + result.deleted, size=result.bytes_staged
    )
    target = facet.OutputDataset(
        namespace=output[0], name=output[1], facets=facets, outputFacets={"outputStatistics": statistics}
    )
    return lineage(inputs=_inputs(facet, origin), outputs=[target], job_facets=_job_facets(facet, query))


def extracted(name: tuple[str, str] | None, query: str | None) -> Any:
    """Return the lineage of an extract: the source. None where OpenLineage is not installed."""
    parts = _parts()
    if parts is None:
        return None
    facet, lineage = parts
    return lineage(inputs=_inputs(facet, name), job_facets=_job_facets(facet, query))


def synced(report: Report, server: str) -> Any:
    """Return the lineage of a remote's run: the streams that it wrote. None where OpenLineage is not installed.

    :param server: the remote's address.
    """
    parts = _parts()
    if parts is None:
        return None
    facet, lineage = parts
    namespace = f"{report.remote}://{server.partition('://')[2]}"
    outputs = [
        facet.OutputDataset(
            namespace=namespace,
            name=".".join(part for part in (report.remote_id, stream.namespace, stream.name) if part),
            outputFacets={"outputStatistics": _statistics(facet, stream)},
        )
        for stream in report.streams
    ]
    job = facet.ExternalQueryRunFacet(externalQueryId=report.job_id or report.remote_id, source=server)
    return lineage(outputs=outputs, run_facets={"externalQuery": job})


def _statistics(facet: Any, stream: StreamReport) -> Any:
    return facet.OutputStatisticsOutputDatasetFacet(rowCount=stream.rows, size=stream.bytes)


def lineage_name(hook: Any, source: TableRef | str | None) -> tuple[str, str] | None:
    """Return the lineage name of a source table, or of files; None for a query, whose tables nobody knows."""
    name: tuple[str, str] | None = hook.lineage_name(source) if source else None
    return name


def _parts() -> tuple[Any, Any] | None:
    try:
        from airflow.providers.common.compat.openlineage import facet
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    return facet, OperatorLineage


def _origin(manifest: Manifest | None) -> tuple[str, str] | None:
    facts = manifest.source_facts if manifest else {}
    return (facts[_NAMESPACE], facts[_NAME]) if _NAME in facts else None


def _inputs(facet: Any, name: tuple[str, str] | None) -> list[Any]:
    return [facet.InputDataset(namespace=name[0], name=name[1])] if name else []


def _job_facets(facet: Any, query: str | None) -> dict[str, Any]:
    return {"sql": facet.SQLJobFacet(query=query)} if query else {}


def _schema(facet: Any, schema: TableSchema) -> Any:
    fields = [
        facet.SchemaDatasetFacetFields(name=column.name, type=column.source_type or str(column.type))
        for column in schema.columns
    ]
    return facet.SchemaDatasetFacet(fields=fields)


def _columns(facet: Any, manifest: Manifest, origin: tuple[str, str]) -> Any:
    targets, sources = manifest.schema.names, manifest.next_position.columns
    if len(sources) != len(targets):
        sources = targets
    fields = {
        target: facet.Fields(
            inputFields=[facet.InputField(namespace=origin[0], name=origin[1], field=source)],
            transformationDescription="",
            transformationType="IDENTITY",
        )
        for target, source in zip(targets, sources, strict=True)
    }
    return facet.ColumnLineageDatasetFacet(fields=fields)
