"""From ``runtime.maintenance`` and the tables' ``maintenance`` to Maintenance and TableMaintenance."""

from dataclasses import replace

from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.models.maintenance import MaintenanceFile, TableMaintenanceFile
from ingestion_runtime.model.maintenance import Maintenance, TableMaintenance


def build_maintenance(file: MaintenanceFile, at: Location, log: IssueLog) -> Maintenance:
    """Return how the configuration is maintained; problems are recorded."""
    return Maintenance(
        tables=build_table_maintenance(file, TableMaintenance(), at, log),
        state_days=file.state_days,
        log_days=file.log_days,
        wait_seconds=file.wait_seconds,
    )


def build_table_maintenance(
    file: TableMaintenanceFile, base: TableMaintenance, at: Location, log: IssueLog
) -> TableMaintenance:
    """Return how a table is maintained: what it says itself (null included), the rest as ``base``; problems are recorded."""
    known = TableMaintenanceFile.model_fields
    built = replace(base, **{name: getattr(file, name) for name in file.model_fields_set if name in known})
    said = [name for name in ("small_file_mb", "target_file_mb") if name in file.model_fields_set]
    if said and built.small_file_mb > built.target_file_mb:
        other = "target_file_mb" if said[0] == "small_file_mb" else "small_file_mb"
        size = built.target_file_mb if other == "target_file_mb" else built.small_file_mb
        bound = "at most" if other == "target_file_mb" else "at least"
        log.add((*at, said[0]), f"must be {bound} {other}, which is {size}")
    return built
