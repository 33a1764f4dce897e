"""CSV: records, types from a sample, decoding with bad rows put aside, and encoding."""
