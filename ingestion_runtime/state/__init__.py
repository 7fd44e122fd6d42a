"""The state database: a cache of what the tables' receipts say, the open batches, and the leases."""
