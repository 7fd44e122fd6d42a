"""Programs that the bench runs as whole processes; each takes a job (a JSON file) as its argument."""
