"""SQL expressions over batches: prepared DuckDB chains, planned types, located row errors."""
