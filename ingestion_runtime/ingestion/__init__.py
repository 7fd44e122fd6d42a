"""One table in one run, and all of them on a thread pool."""
