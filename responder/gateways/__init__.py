"""Every outside party has one address: here."""
