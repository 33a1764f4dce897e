"""HTTP: pages of an API as rows, rows as requests, and rows looked up by key."""
