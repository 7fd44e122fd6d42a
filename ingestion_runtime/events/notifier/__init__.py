"""Tells people how a run goes: messages, when they are sent, and by which way."""
