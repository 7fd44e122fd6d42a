"""What a run would do, and where the tables stand: by looking alone. Nothing in this room changes anything anywhere."""
