"""Whether an installation and a configuration are fit for a run: looked at side by side, leaving nothing behind."""
