"""Trygghetssvar: answers a text or a call with the nearest open trygghetspunkt."""
