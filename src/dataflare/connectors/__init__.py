"""The built-in sources and destinations; found by name, never imported."""
