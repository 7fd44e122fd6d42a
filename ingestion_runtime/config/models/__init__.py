"""What ``conf/*.json`` may say, as pydantic models: only the file boundary knows them."""
