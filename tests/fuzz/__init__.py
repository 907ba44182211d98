"""Texts and calls that nobody meant to send, by the million: `python -m tests.fuzz.run`."""
