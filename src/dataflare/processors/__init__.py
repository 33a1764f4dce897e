"""The built-in processors; found by name, never imported."""
