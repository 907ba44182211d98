"""Use cases, one verb a file. No action imports another."""
