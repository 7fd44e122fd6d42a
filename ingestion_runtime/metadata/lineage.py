"""OpenLineage events of every table's run: which tables of which database went where, how many rows, and how it ended."""

import os
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ingestion_runtime.metadata.datasets import OutputTable, output_table, source_dataset
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.model.metrics import OpenLineageSpec, TableRun
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import Configuration, TableSpec

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent
    from openlineage.client.transport.http import HttpTransport

F = TypeVar("F")

_PRODUCER: Final = "urn:ingestion-runtime"
# Another attempt only where nothing arrived, or the server says that it is busy. The library's own five would hold up what
# comes after, for ten seconds each.
_RETRY: Final = {
    "total": 2,
    "connect": 2,
    "read": 0,
    "backoff_factor": 0.3,
    "status_forcelist": [502, 503, 504],
    "allowed_methods": ["POST"],
}


class LineageListener:
    """Hands every run of a table on, once when it begins and once when it has ended."""

    def __init__(self, keep: Callable[[TableRun], None]) -> None:
        self._keep = keep

    def began(self, run: TableRun) -> None:
        """Hand it on."""
        self._keep(run)

    def ended(self, run: TableRun) -> None:
        """Hand it on."""
        self._keep(run)


class LineageWriter:
    """Makes OpenLineage events and writes them to a file or sends them to a server; for one thread.

    ``locate`` says where a target stood when it was last published. The client's own configuration (files, environment) is
    not read, so that nothing of this machine goes out that the configuration does not name.
    """

    def __init__(
        self,
        spec: OpenLineageSpec,
        configuration: Configuration,
        tables: Sequence[TableSpec],
        locate: Callable[[TableKey], str | None],
    ) -> None:
        self._spec = spec
        self._configuration = configuration
        self._tables = {table.name: table for table in tables}
        self._locate = locate

    def write(self, run: TableRun) -> None:
        """Tell that a table's run began, or how it ended. Raises TransientError, or ConfigError for the key."""
        event = self.event(run)
        if self._spec.file is not None:
            self._append(Path(self._spec.file), event)
        else:
            self._send(event)

    def event(self, run: TableRun) -> "RunEvent":
        """Return the event: START, or COMPLETE, FAIL or ABORT (interrupted)."""
        from openlineage.client import event_v2

        return event_v2.RunEvent(
            eventTime=(run.ended or run.started).isoformat(),
            producer=_PRODUCER,
            eventType=event_v2.RunState[_state(run)],
            run=self._run(run),
            job=self._job(run),
            inputs=self._inputs(run),
            outputs=[self._output(run)],
        )

    def _run(self, run: TableRun) -> "Run":
        from openlineage.client import event_v2, facet_v2

        parent = facet_v2.parent_run
        told = {"run_id": run.run_id, "load_date": str(run.load_date), "batch_id": run.batch_id, "engine": run.engine}
        fields = facet_v2.tags_run.TagsRunFacetFields
        facets: dict[str, Any] = {
            "parent": _facet(
                parent.ParentRunFacet,
                run=parent.Run(runId=run_uuid(run.job_name, run.run_id)),
                job=parent.Job(namespace=self._spec.namespace, name=run.job_name),
            ),
            "processing_engine": _facet(
                facet_v2.processing_engine_run.ProcessingEngineRunFacet,
                version=version("ingestion-runtime"),
                name="ingestion-runtime",
            ),
            "tags": _facet(
                facet_v2.tags_run.TagsRunFacet,
                tags=[fields(key, value, "INGESTION") for key, value in told.items() if value is not None],
            ),
        }
        if run.message is not None:
            facets["errorMessage"] = _facet(
                facet_v2.error_message_run.ErrorMessageRunFacet,
                message=f"{run.error_type}: {run.message}",
                programmingLanguage="PYTHON",
            )
        return event_v2.Run(runId=run_uuid(run.job_name, run.run_id, run.table), facets=facets)

    def _job(self, run: TableRun) -> "Job":
        from openlineage.client import event_v2, facet_v2

        facets: dict[str, Any] = {
            "jobType": _facet(
                facet_v2.job_type_job.JobTypeJobFacet, processingType="BATCH", integration="INGESTION", jobType="TABLE"
            )
        }
        query = self._table(run).query_sql
        if query is not None:
            facets["sql"] = _facet(facet_v2.sql_job.SQLJobFacet, query=query)
        return event_v2.Job(self._spec.namespace, f"{run.job_name}.{run.table}", facets=facets)

    def _inputs(self, run: TableRun) -> "list[InputDataset]":
        """The source table; none for a query, which may read any: the job's ``sql`` says which."""
        from openlineage.client import event_v2, facet_v2

        table = self._table(run)
        if table.query_sql is not None:
            return []
        connection = self._configuration.connection(table.connection)
        name = source_dataset(table, connection)
        read = facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet
        return [
            event_v2.InputDataset(
                name.namespace,
                name.name,
                facets={"dataSource": self._data_source(connection.name, name.namespace)},
                inputFacets={} if run.ended is None else {"inputStatistics": _facet(read, rowCount=run.rows_read)},
            )
        ]

    def _output(self, run: TableRun) -> "OutputDataset":
        from openlineage.client import event_v2, facet_v2

        table, runtime = self._table(run), self._configuration.runtime
        location = (run.location or self._locate(run.key)) if run.ended else self._locate(run.key)
        target = output_table(table, run.key, runtime, location)
        lies = target.alias or target.dataset
        facets: dict[str, Any] = {"dataSource": self._data_source(run.key.catalog, lies.namespace)}
        if target.alias is not None:
            alias = facet_v2.symlinks_dataset.Identifier(target.alias.namespace, target.alias.name, "TABLE")
            facets["symlinks"] = _facet(facet_v2.symlinks_dataset.SymlinksDatasetFacet, identifiers=[alias])
            facets["storage"] = _facet(
                facet_v2.storage_dataset.StorageDatasetFacet, storageLayer="iceberg", fileFormat="parquet"
            )
        if target.columns:
            facets["schema"] = _schema(target)
        wrote = facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        return event_v2.OutputDataset(
            target.dataset.namespace,
            target.dataset.name,
            facets=facets,
            outputFacets={} if run.ended is None else {"outputStatistics": _facet(wrote, rowCount=run.rows_written)},
        )

    def _table(self, run: TableRun) -> TableSpec:
        return self._tables[run.table]

    @staticmethod
    def _data_source(name: str, uri: str) -> Any:
        from openlineage.client import facet_v2

        return _facet(facet_v2.datasource_dataset.DatasourceDatasetFacet, name=name, uri=uri)

    @staticmethod
    def _append(path: Path, event: "RunEvent") -> None:
        """Append one line by one call: runs that write the same file at a time do not tear each other's lines."""
        from openlineage.client.serde import Serde

        line = f"{Serde.to_json(event)}\n".encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            raise TransientError(
                f"The OpenLineage file {path} cannot be written: {error.strerror}.",
                remedy="Make room and check its permissions; the run itself is not concerned.",
            ) from error

    def _send(self, event: "RunEvent") -> None:
        from requests import RequestException

        try:
            self._transport.emit(event)
        except RequestException as error:
            status = error.response.status_code if error.response is not None else ""
            raise TransientError(
                f"The OpenLineage server {self._spec.url} did not take an event: {type(error).__name__} {status}".rstrip()
                + ".",
                remedy="Check runtime.metadata_gateway.openlineage and the server; the run itself is not concerned.",
            ) from error

    @cached_property
    def _transport(self) -> "HttpTransport":
        from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

        key = self._spec.api_key
        auth = TokenProvider({}) if key is None else ApiKeyTokenProvider({"apiKey": key.resolve()})
        url = f"{(self._spec.url or '').rstrip('/')}/"  # else the endpoint would take the place of the last part of its path
        endpoint = self._spec.endpoint.lstrip("/")
        return HttpTransport(HttpConfig(url, endpoint, self._spec.timeout_seconds, auth=auth, retry=_RETRY))


def run_uuid(job_name: str, run_id: str, table: str = "") -> str:
    """Return the id under which lineage knows a run, or a table's part of it: always the same for the same names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{_PRODUCER}:{job_name}/{run_id}/{table}"))


def _state(run: TableRun) -> str:
    if run.ended is None:
        return "START"
    if run.status == TableStatus.INTERRUPTED:
        return "ABORT"
    return "FAIL" if run.status == TableStatus.FAILED else "COMPLETE"


def _schema(target: OutputTable) -> Any:
    from openlineage.client import facet_v2

    fields = facet_v2.schema_dataset.SchemaDatasetFacetFields
    return _facet(
        facet_v2.schema_dataset.SchemaDatasetFacet,
        fields=[
            fields(column.name, column.type, ordinal_position=place) for place, column in enumerate(target.columns, start=1)
        ],
    )


def _facet(kind: Callable[..., F], **values: Any) -> F:
    """Return a facet that names this program as its producer."""
    return kind(producer=_PRODUCER, **values)
