"""MariaDB's log of changes: received as a replica receives it, and decoded by columns."""
