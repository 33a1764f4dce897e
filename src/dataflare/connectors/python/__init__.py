"""Rows that a Python function yields."""
