"""Relational sources: probed through SQLAlchemy, read through Spark's JDBC reader, one small file per dialect."""
