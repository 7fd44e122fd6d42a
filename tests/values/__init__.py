"""The value contract: generated tables, what each database's own client prints of them, and what landed, compared."""
