"""Where a table's rows come from: its batches in raw, what they add up to, and the proof that the table holds just that."""
