"""Kits and merges: what must hold between a server and a laptop."""
