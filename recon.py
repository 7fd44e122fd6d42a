"""Compares targets with their sources: ``python recon.py --config conf/shop.json``."""

from ingestion_runtime.commands.recon import main

if __name__ == "__main__":
    main()
