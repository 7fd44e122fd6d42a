"""Runs an ingestion: ``python ingestion.py --config conf/demo.json``."""

import ingestion_runtime

if __name__ == "__main__":
    ingestion_runtime.run_cli()
