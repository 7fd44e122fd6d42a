"""The metadata gateway: what happened to a table in a run, as records for whoever asks later."""

from collections.abc import Callable, Sequence
from datetime import datetime

from ingestion_runtime.model.metrics import MetricsRepository, RuntimeRecord, TableRun, VolumeRecord


class MetadataGateway:
    """Makes records of ended runs of tables and hands them to a repository, many at a time.

    ``volumes`` and ``runtimes`` say which kinds are kept. A run that has not ended has no record: what is recorded has
    happened.
    """

    def __init__(self, repository: MetricsRepository, *, volumes: bool, runtimes: bool) -> None:
        self._repository = repository
        self._volumes = volumes
        self._runtimes = runtimes

    def write(self, runs: Sequence[TableRun]) -> None:
        """Record the runs in one transaction; raises what the repository raises, and may then be called again."""
        ended = [(run, run.ended) for run in runs if run.ended is not None]
        self._repository.append_metrics(
            [volume_of(run, at) for run, at in ended] if self._volumes else [],
            [runtime_of(run, at) for run, at in ended] if self._runtimes else [],
        )


class GatewayListener:
    """Keeps every ended run of a table for the gateway; ``keep`` is a buffer's way in."""

    def __init__(self, keep: Callable[[TableRun], None]) -> None:
        self._keep = keep

    def began(self, run: TableRun) -> None:
        """Nothing: it has not happened yet."""

    def ended(self, run: TableRun) -> None:
        """Keep it."""
        self._keep(run)


def volume_of(run: TableRun, ended: datetime) -> VolumeRecord:
    """Return how much a run of a table moved."""
    return VolumeRecord(
        key=run.key,
        run_id=run.run_id,
        table=run.table,
        source_id=run.source_id,
        load_date=run.load_date,
        recorded_at=ended,
        status=run.status,
        rows_read=run.rows_read,
        rows_written=run.rows_written,
        rows_deleted=run.rows_deleted,
        bytes=run.bytes,
        duplicates=run.duplicates,
        quarantined=run.quarantined,
        slices=run.slices,
        watermark=run.watermark,
        batch_id=run.batch_id,
        location=run.location,
    )


def runtime_of(run: TableRun, ended: datetime) -> RuntimeRecord:
    """Return how a run of a table went."""
    return RuntimeRecord(
        key=run.key,
        run_id=run.run_id,
        job_name=run.job_name,
        table=run.table,
        source_id=run.source_id,
        mode=run.mode,
        load_date=run.load_date,
        started_at=run.started,
        ended_at=ended,
        seconds=run.seconds,
        status=run.status,
        exit_code=run.exit_code,
        error_type=run.error_type,
        stack_hash=run.stack_hash,
        engine=run.engine,
    )
