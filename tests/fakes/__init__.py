"""Stand-ins for the services outside, spoken to over real HTTP."""
