"""What the MariaDB source does to follow changes: tables, the first reading, the stream and where it stands."""
