"""Batch ingestion of relational tables into a lakehouse."""


def run_cli() -> None:
    """Run the command line. Imported late, so that ``import ingestion_runtime`` costs nothing."""
    from ingestion_runtime.cli import run_cli as run  # noqa: PLC0415

    run()
