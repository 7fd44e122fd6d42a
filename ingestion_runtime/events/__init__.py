"""What happens in a run: typed events, the emitter that hands them out, and those who listen."""
