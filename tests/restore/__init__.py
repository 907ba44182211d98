"""The rehearsal: a database is filled, backed up while it is written to, destroyed, restored, and compared."""
