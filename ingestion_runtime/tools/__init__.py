"""Execution tools and what they need on the machine: Spark, its jars, Java, the file system."""
