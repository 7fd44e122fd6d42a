"""What event logs tell of runs: followed while they go on, and looked back at."""
