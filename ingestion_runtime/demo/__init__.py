"""The demo behind ``make demo``: an embedded shop database, ingested, changed, ingested again, compared."""
