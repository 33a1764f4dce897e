"""How rows are read from and written to bytes: one module per format, used by connectors."""
