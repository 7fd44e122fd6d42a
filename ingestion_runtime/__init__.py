"""Batch ingestion of relational tables into a lakehouse."""
