"""Rows in this process, for tests and first steps."""
