"""The events. Each class carries the name under which the specification, the log and the state know it."""
