"""MariaDB and MySQL tables."""
