"""One run as one HTML file, which needs nothing else: no network, no server, no other file."""

from ingestion_runtime.progress.report.writing import render_report, write_report

__all__ = ["render_report", "write_report"]
