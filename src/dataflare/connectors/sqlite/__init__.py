"""SQLite tables."""
