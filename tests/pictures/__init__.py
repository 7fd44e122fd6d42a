"""The pictures of the documentation, drawn from real runs: ``python -m tests.pictures [NAME ...]``."""
