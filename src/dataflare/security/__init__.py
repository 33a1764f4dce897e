"""Keeping data and secrets safe: the codec of durable bytes, secret references, roots of paths."""
