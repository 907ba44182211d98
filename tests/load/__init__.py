"""Floods, against the service as it runs in production."""
