"""The protocol's one path: branch, write, audit, land raw, publish; and the same path taken up again after a crash."""
