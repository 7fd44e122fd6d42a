"""Looking after what was ingested: an audit that changes nothing, upkeep beside running ingests, and rebuilding from raw."""

from ingestion_runtime.maintenance.report import MaintenanceReport, Mode
from ingestion_runtime.maintenance.running import MaintenanceRequest, run

__all__ = ["MaintenanceReport", "MaintenanceRequest", "Mode", "run"]
