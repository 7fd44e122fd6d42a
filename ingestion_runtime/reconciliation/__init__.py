"""Source and target compared where they are: counts, keys, checksums, and the keys that differ."""
