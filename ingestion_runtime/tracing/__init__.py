"""What became of one key on its way from the source into the target."""
