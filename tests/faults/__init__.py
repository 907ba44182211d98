"""Things that break under a running service."""
