"""What must not be lost: tables, named reads and writes, migrations."""
