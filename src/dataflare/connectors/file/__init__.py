"""Files: CSV, JSON Lines and Parquet, split by byte range or row group, published at commit."""
