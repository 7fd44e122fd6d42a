"""The commands beside the run itself, a module each: options in, exit code out."""
