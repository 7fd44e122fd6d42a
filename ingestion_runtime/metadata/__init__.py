"""Catalog snapshots of source tables: their cache, and what may change between two of them."""
