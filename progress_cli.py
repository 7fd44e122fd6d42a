"""Shows how runs go, from their event logs: ``python progress_cli.py watch --log-file logs``."""

from ingestion_runtime.commands.progress import main

if __name__ == "__main__":
    main()
