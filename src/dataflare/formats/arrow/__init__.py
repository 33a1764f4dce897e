"""Arrow IPC: files and streams of record batches."""
