"""How texts become columns, one format a module."""
