"""Parquet: row groups in and out."""
