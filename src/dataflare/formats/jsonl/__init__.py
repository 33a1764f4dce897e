"""JSON Lines: types from a sample, decoding with bad lines put aside, and encoding."""
