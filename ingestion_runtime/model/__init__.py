"""Frozen domain types, protocols and errors. Standard library and pyarrow types only."""
